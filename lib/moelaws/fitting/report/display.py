"""A fit on a page: a table and a figure, drawn in the page's own colours, without a script or another host."""

from html import escape

import numpy as np
import pandas as pd

from moelaws.fitting.report.summary import Summary, summary_of
from moelaws.fitting.result import FitResult

_MOST_POINTS = 400
_WIDTH, _HEIGHT, _MARGIN = 260, 200, 44
_TEXT = 'font-size="11" fill="currentColor"'


def html_of(result: FitResult) -> str:
    """A fit as HTML: its summary, and losses against what the law says of them where the fit holds its runs."""
    figure = "" if result.solution is None else _figure(result.residuals(), result)
    return f'<div style="background:none;color:inherit">{html_of_summary(summary_of(result))}{figure}</div>'


def html_of_summary(summary: Summary) -> str:
    """A summary as HTML, in the page's own colours."""
    rows = "".join(
        f"<tr><th scope='row' style='text-align:left'>{escape(str(name))}</th>"
        + "".join(f"<td style='text-align:right'>{_number(row[key])}</td>" for key in ("value", "low", "high"))
        + f"<td style='text-align:left'>{escape(str(row['note']))}</td></tr>"
        for name, row in summary.table.iterrows()
    )
    columns = "".join(f"<th scope='col'>{name}</th>" for name in ("parameter", "value", "low", "high", ""))
    foot = "".join(f"<p style='margin:0'>{escape(line)}</p>" for line in summary.foot)
    law, *status = summary.head
    return (
        f"<p style='margin:0'><code>{escape(law)}</code></p>"
        + "".join(f"<p style='margin:0'>{escape(line)}</p>" for line in status)
        + "<table style='background:none;color:inherit;border-collapse:collapse'>"
        + (f"<caption>{escape(summary.method)}</caption>" if summary.method else "")
        + f"<thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table>{foot}"
    )


def _number(value: float) -> str:
    if np.isnan(value):
        return ""
    return f"{value:.4g}" if np.isfinite(value) else "∞" if value > 0 else "−∞"


def _figure(runs: pd.DataFrame, result: FitResult) -> str:
    if len(runs) > _MOST_POINTS:
        runs = runs.sort_values("observed").iloc[np.linspace(0, len(runs) - 1, _MOST_POINTS).astype(int)]
    observed, predicted = runs["observed"].to_numpy(), runs["predicted"].to_numpy()
    residual = runs["residual"].to_numpy()
    unit = "ln L" if result.objective.on_log else result.law.target
    one = _panel(predicted, observed, "predicted", "observed", diagonal=True)
    other = _panel(predicted, residual, "predicted", f"residual of {unit}", diagonal=False)
    said = (
        f"Two panels: {len(runs)} observed losses against the law's predictions, along the diagonal where they agree, "
        "and the residuals against the predictions, around zero."
    )
    width = 2 * (_WIDTH + _MARGIN)
    return (
        f'<svg role="img" aria-label="{escape(said)}" viewBox="0 0 {width} {_HEIGHT + _MARGIN}" '
        f'width="{width}" style="max-width:100%;height:auto;background:none">'
        f'{one}<g transform="translate({_WIDTH + _MARGIN},0)">{other}</g></svg>'
    )


def _panel(x: np.ndarray, y: np.ndarray, x_name: str, y_name: str, diagonal: bool) -> str:
    x_ends = _ends(np.concatenate([x, y]) if diagonal else x)
    y_ends = x_ends if diagonal else _ends(np.append(y, 0.0))
    across = _MARGIN + (x - x_ends[0]) / (x_ends[1] - x_ends[0]) * (_WIDTH - 10)
    down = 8 + (1 - (y - y_ends[0]) / (y_ends[1] - y_ends[0])) * (_HEIGHT - 16)
    points = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2"/>' for a, b in zip(across, down, strict=True))
    left, right, top, bottom = _MARGIN, _MARGIN + _WIDTH - 10, 8, _HEIGHT - 8
    zero = top + (1 - (0.0 - y_ends[0]) / (y_ends[1] - y_ends[0])) * (bottom - top)
    start, end = (bottom, top) if diagonal else (zero, zero)
    return (
        f'<g stroke="currentColor" stroke-opacity="0.5"><path fill="none" d="M{left} {top}V{bottom}H{right}"/>'
        f'<path d="M{left} {start:.1f}L{right} {end:.1f}" stroke-dasharray="4 3"/></g>'
        f'<g fill="currentColor" fill-opacity="0.6">{points}</g>'
        f'<text x="{left}" y="{bottom + 14}" {_TEXT}>{x_ends[0]:.3g}</text>'
        f'<text x="{right}" y="{bottom + 14}" text-anchor="end" {_TEXT}>{x_ends[1]:.3g}</text>'
        f'<text x="{(left + right) / 2}" y="{bottom + 28}" text-anchor="middle" {_TEXT}>{x_name}</text>'
        f'<text x="{left - 4}" y="{bottom}" text-anchor="end" {_TEXT}>{y_ends[0]:.3g}</text>'
        f'<text x="{left - 4}" y="{top + 8}" text-anchor="end" {_TEXT}>{y_ends[1]:.3g}</text>'
        f'<text x="{left + 6}" y="{top + 8}" {_TEXT}>{escape(y_name)}</text>'
    )


def _ends(values: np.ndarray) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    room = 0.04 * (high - low) or max(abs(low), 1.0) * 0.01
    return low - room, high + room
