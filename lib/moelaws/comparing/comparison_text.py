"""A comparison in words and as a table: for the terminal, and for a page."""

from html import escape

import numpy as np
import pandas as pd

from moelaws.comparing.comparison import Comparison
from moelaws.comparing.paper_fits import PAPER_FITS, USUAL
from moelaws.quote import number_of, plain, sentence


def text_of_comparison(found: Comparison) -> str:
    """What ``moelaws compare`` prints."""
    shown = shown_comparison(found)
    lines = [*held_out_lines(found), "", *(line.rstrip() for line in shown.to_string(index=False).splitlines())]
    lines += average_lines(found)
    if found.fitter == "published":
        lines += ["", *published_lines(found)]
    return "\n".join((*lines, *refused_lines(found)))


def html_of_comparison(found: Comparison) -> str:
    """The same for a notebook, in the page's own colours."""
    words = "".join(f"<p style='margin:0'>{escape(line)}</p>" for line in held_out_lines(found))
    table = shown_comparison(found).to_html(index=False, border=0)
    after = "".join(f"<p style='margin:0'>{escape(line)}</p>" for line in average_lines(found))
    return f"<div style='background:none;color:inherit'>{words}{table}{after}</div>"


def held_out_lines(found: Comparison) -> list[str]:
    """How many runs and laws there are, and what was held out."""
    laws = number_of(len(found.contenders), "law")
    lines = [f"{number_of(found.n_runs, 'run')}, {laws}, each at its optimum"]
    lines += [
        f"held out as {plain(each.name)}: {plain(each.words)} ({number_of(each.count, 'run')})" for each in found.unseen
    ]
    lines += [f"not held out, {name}: {why}" for name, why in found.missing.items()]
    return lines


def r2_text(value: float) -> str:
    """A share of variance that is explained; far below zero its decimals say nothing."""
    return "" if not np.isfinite(value) else f"{round(value, 3) + 0.0:.3f}" if value > -1 else f"{value:.0f}"


def average_lines(found: Comparison) -> list[str]:
    """What the laws foresaw together."""
    lines = []
    for name, each in found.averages.items():
        lines.append(
            f"mean of {number_of(each.laws, 'law')} on {plain(name)}: error {each.rmse_log:.4f},"
            f" R2 {r2_text(each.r2)}, {each.coverage:.0%} inside the 95 % band"
        )
    return lines


def refused_lines(found: Comparison) -> list[str]:
    """Which laws were not asked, by the reason."""
    reasons: dict[str, list[str]] = {}
    for name, why in found.refused.items():
        reasons.setdefault(why, []).append(plain(name))
    return [f"not asked, {sentence(why, 200)}: {', '.join(names)}" for why, names in reasons.items()]


def shown_comparison(found: Comparison) -> pd.DataFrame:
    """The table as text: errors are of ln L; the share of held-out runs inside the 95 % intervals comes last."""
    table = found.table
    shown = pd.DataFrame({"law": table["law"].map(plain), "P": table["parameters"], "status": table["status"]})
    shown["error"] = _numbers(table["rmse_log"], ".4f")
    shown["AICc +"] = _numbers(table["delta_aicc"], ".1f")
    for each in found.unseen:
        name = plain(each.name, 24)
        shown[name] = _numbers(table[f"{each.name}_rmse_log"], ".4f")
        shown[f"{name} R2"] = table[f"{each.name}_r2"].map(r2_text)
        shown[f"{name} inside"] = _numbers(table[f"{each.name}_coverage"], ".0%")
    shown["s"] = _numbers(table["seconds"], ".1f")
    return shown


def published_lines(found: Comparison) -> list[str]:
    """What the fitter alone is worth, law by law."""
    lines = [
        "as their papers fitted them: error in the fit (at the optimum), and on what was held out (at the optimum)"
    ]
    for row, each in zip(found.table.to_dict("records"), found.contenders, strict=True):
        name = each.law.name
        parts = [f"{row['published_rmse_log']:.4f} ({row['rmse_log']:.4f})"]
        for split in found.unseen:
            theirs, ours = row[f"published_{split.name}_rmse_log"], row[f"{split.name}_rmse_log"]
            parts.append(f"{plain(split.name, 24)} {theirs:.4f} ({ours:.4f})")
        lines.append(f"  {plain(name)}: {', '.join(parts)}; {PAPER_FITS.get(name, USUAL).source}")
    return lines


def _numbers(column: pd.Series, form: str) -> list[str]:
    return [f"{value:{form}}" if np.isfinite(value) else "-" for value in column.to_numpy(float)]
