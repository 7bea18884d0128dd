"""The runs on program text: which number of experts is best at which budget, how fine, and what they gain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from howmany.programs.collapse import NEEDED as LOADS
from howmany.programs.collapse import collapsed, concentration, kept
from howmany.programs.valley import Key, Valley, valley
from howmany.study import PLAIN, Design, budget_label
from howmany.verdict import Finding, finding
from moelaws.fitting.least_squares import Array
from moelaws.runs import finished, read_runs

NEEDED = (
    "loss", "budget", "d_model", "sparsity", "top_k", "granularity", "active_params", "total_params", "load_imbalance",
)  # fmt: skip
FINE: Design = (2, 2.0)
NAMES = {PLAIN: "whole, K = G = 1", FINE: "halves, K = G = 2"}
LEVEL = (0.025, 0.975)
_DENSE: Key = (1, 1, 1.0)


@dataclass(frozen=True, eq=False)
class Programs:
    """The runs on program text and their valleys.

    Attributes:
        every: all finished runs.
        runs: those whose router has not collapsed.
        valleys: one a budget, of ``runs``.
        with_collapsed: the same of ``every``, at the budgets where that is another table.
    """

    every: pd.DataFrame
    runs: pd.DataFrame
    valleys: list[Valley]
    with_collapsed: list[Valley]

    @property
    def budgets(self) -> list[float]:
        """The budgets, FLOPs."""
        return [each.budget for each in self.valleys]


def programs(runs_file: str, draws: int) -> Programs:
    """Read the table and fit a valley to each budget.

    Args:
        runs_file: the sweep's table.
        draws: behind each interval.
    """
    every = finished(read_runs(runs_file, required=NEEDED)).reset_index(drop=True)
    runs = kept(every)
    other = every[every["budget"].isin(every.loc[collapsed(every), "budget"])]
    return Programs(every, runs, _valleys(runs, draws), _valleys(other, draws) if len(other) else [])


def _valleys(runs: pd.DataFrame, draws: int) -> list[Valley]:
    return [valley(group.reset_index(drop=True), draws, seed) for seed, (_, group) in enumerate(runs.groupby("budget"))]


def key_of(idle: int, design: Design) -> Key:
    """E, K and G of a design with 1 / (1 - S) = ``idle``."""
    return (idle * design[0], *design) if idle > 1 else _DENSE


def idles(found: Programs) -> list[int]:
    """1 / (1 - S) of the mixtures tried, rising."""
    return sorted({e // k for each in found.valleys for e, k, _ in each.keys if e > 1})


def design_name(table: pd.DataFrame) -> "pd.Series[str]":
    """Whether experts are whole or in halves, in words, run by run."""
    return table["granularity"].map(lambda g: NAMES[FINE] if g > 1 else NAMES[PLAIN])


def gains(found: Programs) -> pd.DataFrame:
    """What each mixture gains over the dense model of its budget.

    Returns:
        One row a budget and mixture: ``budget``, ``idle`` (1 / (1 - S)), ``experts`` (in words), ``gain`` with ``low``
        and ``high`` in nats, ``share`` (of draws in which it is the best of all), ``edge``.
    """
    rows = []
    for each in found.valleys:
        best = each.loss[:, 1:].argmin(axis=0)
        for row, (e, k, g) in enumerate(each.keys[1:], start=1):
            gain = each.loss[0] - each.loss[row]
            low, high = np.quantile(gain[1:], LEVEL)
            rows.append(
                {"budget": each.budget, "idle": e // k, "experts": NAMES[FINE if g > 1 else PLAIN], "gain": gain[0]}
                | {"low": low, "high": high, "share": float(np.mean(best == row)), "edge": each.edges[row]}
            )
    return pd.DataFrame(rows)


def turn(found: Programs, design: Design) -> list[Finding]:
    """L* of the sparsest less that of the next sparsity, at each budget: below zero where more experts are better."""
    near, far = idles(found)[-2:]
    said = []
    for each in found.valleys:
        pair = [each.at(key_of(idle, design)) for idle in (near, far)]
        if pair[0] is not None and pair[1] is not None:
            said.append(finding(budget_label(each.budget), pair[1] - pair[0], "nats"))
    return said


def finer(found: Programs) -> list[Finding]:
    """L* of halves less that of whole experts at equal sparsity, mean over the sparsities tried with both."""
    said = []
    for each in found.valleys:
        pairs = [(each.at(key_of(idle, FINE)), each.at(key_of(idle, PLAIN))) for idle in idles(found)]
        both = [fine - whole for fine, whole in pairs if fine is not None and whole is not None]
        said.append(finding(budget_label(each.budget), np.mean(both, axis=0), "nats"))
    return said


def per_decade(found: Programs, quantity: str) -> Finding:
    """How a quantity moves with a decade of FLOPs: a straight line through the budgets, weighted by their precision.

    Args:
        found: the valleys; budgets at which the best sizes lie at an edge take no part.
        quantity: ``gain`` (of the best mixture over dense) or ``turn`` (the mean over both designs).
    """
    near, far = idles(found)[-2:]
    chosen: list[tuple[float, Array]] = []
    for each in found.valleys:
        best = int(each.loss[:, 0].argmin())
        if each.edges[best] or each.edges[0]:
            continue
        if quantity == "gain":
            chosen.append((np.log10(each.budget), each.loss[0] - each.loss[1:].min(axis=0)))
        else:
            pairs = [(each.at(key_of(far, d)), each.at(key_of(near, d))) for d in (PLAIN, FINE)]
            chosen.append((np.log10(each.budget), np.mean([a - b for a, b in pairs if a is not None], axis=0)))  # type: ignore[operator]
    at, values = np.array([c for c, _ in chosen]), np.array([v for _, v in chosen])
    weight = 1 / values[:, 1:].var(axis=1)
    middle = at - (weight @ at) / weight.sum()
    return finding("", (weight * middle) @ values / ((weight * middle) @ middle), "nats a decade")


def loads(files: Sequence[str]) -> pd.DataFrame:
    """The concentration of every mixture of several tables, with the name of its table."""
    parts = []
    for file in files:
        runs = finished(read_runs(file, required=LOADS))
        mixtures = runs[runs["n_experts"] > runs["top_k"]]
        name = file.rsplit("/", 1)[-1]
        words = [f"E = {r.n_experts}, d = {r.d_model}, loss {r.loss:.2f}" for r in mixtures.itertuples()]
        share = concentration(mixtures).to_numpy()
        parts.append(pd.DataFrame({"table": name, "concentration": share, "name": words}))
    return pd.concat(parts, ignore_index=True)
