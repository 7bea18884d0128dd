"""What to run next: runs that tell most about the next budget, and what the analyses of a table lack."""

from typing import Any

import numpy as np

from moelaws.choosing.chosen_runs import shown_answer, shown_runs
from moelaws.quote import number_of
from moelaws.reporting.analyses import Analyses
from moelaws.reporting.page_parts import Section, Table
from moelaws.surfaces.report.optima_table import rows_of
from moelaws.surfaces.standing import words as said_of

_RUNS_PER_PARAMETER = 2


def next_section(found: Analyses) -> Section:
    """What to run next: the runs that tell most about the next budget, and what the analyses above lack."""
    wishes = list(dict.fromkeys(_wishes(found)))
    chosen = found.following
    if chosen is None or chosen.table.empty:
        finding = wishes[0] if wishes else "Nothing that these analyses ask for is missing."
        return Section("next", "What to run next", finding, wishes[1:])
    words = [f"{chosen.discrepancy} The error is a standard deviation, of the loss in nats.", *chosen.warnings]
    shown = shown_runs(chosen.table.drop(columns=["wave"]))
    caption = "The runs, each the one that lowers the error most for its FLOPs, those above it made"
    answers = Table.of(shown_answer(chosen.answer), "What they are to tell, as it is foretold without them")
    return Section("next", "What to run next", chosen.finding, [*words, *wishes], [Table.of(shown, caption), answers])


def _unsettled(curves: list[dict[str, Any]]) -> list[str]:
    """What curves without an optimum lack: a sentence a budget and a lack, with the sparsities that have it."""
    lacking: dict[tuple[float, str], list[str]] = {}
    for row in curves:
        if row["status"] in ("low edge", "high edge", "open"):
            said = said_of(row["status"], row["smallest"], row["largest"], row["sizes"])
            lacking.setdefault((row["budget"], said), []).append(f"{row['sparsity']:.4g}")
    return [
        f"At {budget:.3g} FLOPs and S = {' and '.join(filter(None, (', '.join(of[:-1]), of[-1])))}: {said}."
        for (budget, said), of in lacking.items()
    ]


def _wishes(found: Analyses) -> list[str]:
    wishes = [f"For a proposal of runs: {found.why['next']}."] if "next" in found.why else []
    if found.surfaces is not None:
        curves = [row for row in rows_of(found.surfaces.optima) if row["status"] != "few sizes"]
        if not curves:
            wishes.append("Three sizes or more at equal FLOPs: without them no budget shows its best size.")
        wishes += _unsettled(curves)
        if 0 < len(found.budgets) < 3:
            wishes.append(
                f"The runs lie at {number_of(len(found.budgets), 'budget')}: a forecast of a further"
                " one takes three, of which the largest can be held out."
            )
    elif "surfaces" in found.why:
        wishes.append(f"For an isoFLOP analysis: {found.why['surfaces']}.")
    if not np.isfinite(found.noise):
        wishes.append("A second seed at a few points, best near the optima: it tells what chance does to a loss.")
    elif "budget" in found.spread.columns and found.budgets and found.spread["budget"].max() < found.budgets[-1]:
        wishes.append(f"A second seed at {found.budgets[-1]:.3g} FLOPs, where none was run twice.")
    if found.law is not None:
        parameters = len(found.law.params)
        if len(found.runs) < _RUNS_PER_PARAMETER * parameters:
            wishes.append(
                f"{len(found.runs)} runs for the {parameters} parameters of {found.law.law.name}: twice as many runs as"
                " parameters are the least that a forecast should rest on."
            )
        for name in ("n_experts", "tokens", "active_params"):
            if name in found.runs.columns and found.runs[name].nunique() == 1:
                wishes.append(f"All runs have one value of {name}: what it does to the loss stays unknown.")
    if found.optima and found.optima[0].experts_edge == "high":
        wishes.append(
            f"More experts than {found.optima[0].n_experts:g}: the best number lies at the end of those tried."
        )
    return wishes
