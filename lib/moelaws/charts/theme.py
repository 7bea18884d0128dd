"""The look of the book's charts: system fonts, quiet axes, and one colour for one number of experts, everywhere."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import altair as alt

from moelaws.formulas.mathml import LETTERS

THEME = "moelaws"

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK = "#1f2328"
QUIET = "#57606a"
GRID = "#e6e8eb"
PAPER = "#ffffff"

DENSE = "#d55e00"
"""E = 1: orange, apart from all others also for readers who cannot tell red from green."""

ROUTED = ("#45b896", "#2f9faa", "#3384a8", "#3c6da6", "#474d91", "#43336d", "#2f1c44", "#170b22")
"""E = 2, 4, ... 256: lightness falls evenly, so that the order survives greyscale and colour blindness."""

CATEGORIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#57606a")
"""Colours for what has no order and no number of experts (Okabe and Ito, without the orange of E = 1)."""


_BELOW = {"N_a": "Nₐ", "E_max": "Eₘₐₓ"}
_INDEX = re.compile(rf"\b({'|'.join(_BELOW)})\b")
_POSITIVE = re.compile(r"(?<=\d)e\+(?=\d)")


def expert_colour(n_experts: float) -> str:
    """The colour of a number of experts, the same in every chart of the book.

    Arguments:
        n_experts: experts per layer; 1 is a dense model. Between powers of two the colours blend in log2.

    Returns:
        Hexadecimal RGB; above 256 experts the darkest one.

    Raises:
        ValueError: fewer than one expert.
    """
    if not n_experts >= 1:
        raise ValueError(f"number of experts: expected at least 1, found {n_experts}")
    if n_experts == 1:
        return DENSE
    place = min(max(math.log2(n_experts) - 1, 0.0), len(ROUTED) - 1.0)
    low = int(place)
    high = min(low + 1, len(ROUTED) - 1)
    return _blend(ROUTED[low], ROUTED[high], place - low)


def expert_scale(values: Iterable[float]) -> alt.Scale:
    """A colour scale for a chart that shows several numbers of experts.

    Arguments:
        values: the numbers of experts in the chart's data; repeats are fine.

    Returns:
        An ordinal scale over the distinct values in rising order; use it with a field of type `O`.
    """
    domain = sorted({int(value) for value in values})
    return alt.Scale(domain=domain, range=[expert_colour(value) for value in domain])


@alt.theme.register(THEME, enable=False)
def chart_theme() -> alt.theme.ThemeConfig:
    """Settings every chart starts from; a chart may override any of them."""
    return cast(alt.theme.ThemeConfig, _settings())


def themed(chart: Any) -> dict[str, Any]:
    """The specification of a chart in the book's look, whatever theme is enabled, with all of its rows."""
    with alt.theme.enable(THEME), alt.data_transformers.enable("default", max_rows=None):
        return dict(chart.to_dict())


def letter(name: str) -> str:
    """A parameter's name as text without markup: ``lambda`` is λ, ``alpha2`` is α2, ``N_a`` stays as it is."""
    stem = name.rstrip("0123456789")
    return LETTERS.get(stem, stem) + name[len(stem) :]


def lettered(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A chart's specification with numbers and letters as the text around it has them.

    A power of ten is 1e12 on an axis, too, not 1e+12; and N_a has its index below the line, where fields have that name
    as well as where readers see it, so that both still meet. A logarithmic axis keeps the labels of its powers of ten.
    """
    text = _POSITIVE.sub("e", json.dumps(spec, ensure_ascii=False))
    return cast(dict[str, Any], _axes(json.loads(_INDEX.sub(lambda found: _BELOW[found[0]], text))))


def _axes(part: Any) -> Any:
    if isinstance(part, dict):
        if part.get("format") in ("~e", ".0e"):
            part.setdefault("labelExpr", "replace(datum.label, 'e+', 'e')")
        for channel in ("x", "y"):
            _thin(part.get(channel))
        for name, value in part.items():
            if name not in ("data", "datasets"):
                _axes(value)
    elif isinstance(part, list):
        for each in part:
            _axes(each)
    return part


def _thin(channel: Any) -> None:
    """Where labels of a logarithmic axis overlap, leave out those that do.

    What linear axes do, every other label, leaves out powers of ten as well: 1 2 3 4 5 10 becomes 1 3 5.
    """
    scale = channel.get("scale") if isinstance(channel, dict) else None
    if not isinstance(scale, dict) or scale.get("type") != "log" or channel.get("axis", {}) is None:
        return
    axis = channel.setdefault("axis", {})
    axis.setdefault("labelOverlap", "greedy")
    if "labelExpr" in axis and "values" not in axis:
        # Vega leaves most ticks between two powers without a label; words of a chart's own must not bring them back.
        axis["labelExpr"] = f"datum.label === '' ? '' : ({axis['labelExpr']})"


def _settings() -> dict[str, Any]:
    axis = {
        "labelFont": FONT, "titleFont": FONT, "labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": 600,
        "labelColor": QUIET, "titleColor": INK, "gridColor": GRID, "domainColor": QUIET, "tickColor": QUIET,
        "labelOverlap": True, "labelSeparation": 5, "titlePadding": 8, "labelFlush": False,
    }  # fmt: skip
    # Legends lie above the plot: beside it they would take a third of a phone's width.
    legend = {
        "labelFont": FONT, "titleFont": FONT, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 600,
        "labelColor": INK, "titleColor": INK, "orient": "top", "direction": "horizontal", "titleOrient": "left",
        "titleAnchor": "start", "symbolStrokeWidth": 2, "symbolOpacity": 1, "labelLimit": 220, "offset": 6,
    }  # fmt: skip
    return {
        "config": {
            "background": PAPER,
            "font": FONT,
            "view": {"continuousWidth": 420, "continuousHeight": 320, "stroke": None},
            "axis": axis,
            "legend": legend,
            "header": {"labelFont": FONT, "titleFont": FONT, "labelFontSize": 12, "titleFontSize": 13},
            "title": {
                "font": FONT,
                "fontSize": 14,
                "fontWeight": 600,
                "anchor": "start",
                "color": INK,
                "offset": 10,
            },
            "range": {"category": list(CATEGORIES)},
            "line": {"strokeWidth": 2},
            "point": {"size": 45, "filled": True, "opacity": 1},
            "errorbar": {"ticks": True},
            "errorband": {"band": {"opacity": 0.2}},
            "area": {"opacity": 0.2},
            "rule": {"color": QUIET},
            "text": {"font": FONT, "fontSize": 12, "color": INK},
        }
    }


def _blend(low: str, high: str, share: float) -> str:
    pairs = ((int(low[i : i + 2], 16), int(high[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
