"""Laws against each other: what each misses of the runs it was fitted to, and of those that it had to foresee."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from moelaws.charts.theme import CATEGORIES, QUIET
from moelaws.quote import plain

FITTED = "in the fit"
_SHAPES = ("circle", "diamond", "square", "triangle-up", "cross", "stroke")


def errors_by_law(table: pd.DataFrame, splits: Sequence[str], width: int = 340) -> alt.LayerChart:
    """Errors of each law as points on a line of its own.

    Arguments:
        table: `law`, `rmse_log`, and `NAME_rmse_log` for each split; the best law first.
        splits: names of what was held out.
        width: of the plot, in pixels.
    """
    kinds = {FITTED: "rmse_log"} | {f"held out: {plain(name, 30)}": f"{name}_rmse_log" for name in splits}
    parts = [
        pd.DataFrame({"law": table["law"].map(plain), "error": table[column], "of": kind})
        for kind, column in kinds.items()
    ]
    points = pd.concat(parts, ignore_index=True)
    points = points[points["error"].gt(0) & points["error"].lt(1e3)]
    order = [plain(name) for name in table["law"]]
    legend = alt.Legend(columns=1, symbolOpacity=1)
    colour = alt.Color(
        "of:N", title=None, legend=legend, sort=list(kinds), scale=_scale(list(kinds), (QUIET, *CATEGORIES))
    )
    shape = alt.Shape("of:N", title=None, legend=legend, sort=list(kinds), scale=_scale(list(kinds), _SHAPES))
    base = alt.Chart(points).encode(
        x=alt.X("error:Q", title="error of ln L (root mean square)").scale(type="log", nice=False, padding=12)
        .axis(format="~g", tickCount=5),
        y=alt.Y("law:N", title=None, sort=order),
    )  # fmt: skip
    spans = base.mark_line(color=QUIET, opacity=0.4, strokeWidth=1).encode(detail="law:N")
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(color=colour, shape=shape)
    best = "" if points.empty else f" The best on what comes first is {order[0]}."
    return (spans + dots).properties(
        width=width,
        height=alt.Step(22),
        description=f"Errors of {len(order)} laws, in the fit and on the runs held out, on a log axis.{best}",
    )


def _scale(names: list[str], values: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=names, range=[values[i % len(values)] for i in range(len(names))])
