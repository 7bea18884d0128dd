"""Do the best learning rate and batch hang on sparsity? A quadratic in both logs that moves with sparsity."""

from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.neighbours.words import verdicts
from howmany.study import budget_label
from howmany.verdict import Finding, Judged, finding
from moelaws.charts.losses import budget_name
from moelaws.charts.theme import QUIET, expert_scale
from moelaws.fitting.least_squares import Array, LinearFit, least_squares
from moelaws.fitting.objective import FitError
from moelaws.runs import finished, read_runs
from moelaws.training.recipe import batch_sequences, learning_rate

NEEDED = ("loss", "budget", "n_experts", "top_k", "learning_rate", "batch_sequences", "context", "tokens")
PAPER = {"rate": 0.1361, "batch": -0.0841}
"""Exponents of the activation ratio in 2609.08690, whose runs were made with Muon."""

_LEVEL = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class Grid:
    """The quadratic that all cells share, its lowest point moving with the activation ratio A = K/E and the budget.

    Attributes:
        runs: finished runs, with ``u`` and ``v`` (ln of rate and of batch in tokens, less their means), ``a`` (ln A
            less its mean), ``c`` (ln C less its mean) and ``chosen`` (the rate of the recipe at its own batch).
        draws: weights of the fit and of B draws, (1 + B) x p: levels of the cells, then u, v, uu, uv, vv, ua, va, uc
            and vc.
        cells: (budget, E), as the levels go.
        scatter: standard deviation of the runs about it, nats.
    """

    runs: pd.DataFrame
    draws: Array
    cells: list[tuple[float, int]]
    scatter: float

    def weight(self, name: str) -> Array:
        """A weight and its draws, 1 + B."""
        at = len(self.cells) + ("u", "v", "uu", "uv", "vv", "ua", "va", "uc", "vc").index(name)
        column: Array = self.draws[:, at]
        return column

    @property
    def rate_exponent(self) -> Array:
        """Exponent of A in the best rate at a batch that stays as it is, 1 + B."""
        return -self.weight("ua") / (2 * self.weight("uu"))

    @property
    def free_exponents(self) -> tuple[Array, Array]:
        """Exponents of A in rate and batch that are best together, each 1 + B."""
        uu, uv, vv = (self.weight(name) for name in ("uu", "uv", "vv"))
        ua, va = self.weight("ua"), self.weight("va")
        determinant = 4 * uu * vv - uv**2
        return -(2 * vv * ua - uv * va) / determinant, -(2 * uu * va - uv * ua) / determinant

    def best_rate(self, cell: tuple[float, int], batch: float) -> Array:
        """ln of the best rate of a cell at a batch in sequences over ln of the recipe's, 1 + B."""
        here = self.runs[(self.runs["budget"] == cell[0]) & (self.runs["n_experts"] == cell[1])]
        row = here.iloc[(here["batch_sequences"] - batch).abs().argmin()]
        lean = self.weight("u") + self.weight("uv") * row["v"] + self.weight("ua") * row["a"]
        best = -(lean + self.weight("uc") * row["c"]) / (2 * self.weight("uu"))
        return best - np.log(row["chosen"] / row["learning_rate"]) - row["u"]


def grid(runs_file: str, draws: int) -> Grid:
    """Fit the quadratic of the sweep.

    Args:
        runs_file: its table.
        draws: behind each interval.
    """
    return _fit(_coordinates(finished(read_runs(runs_file, required=NEEDED))), draws)


def _coordinates(runs: pd.DataFrame) -> pd.DataFrame:
    logs = {
        "u": np.log(runs["learning_rate"]), "v": np.log(runs["batch_sequences"] * runs["context"]),
        "a": np.log(runs["top_k"] / runs["n_experts"]), "c": np.log(runs["budget"]),
    }  # fmt: skip
    chosen = [
        learning_rate(e, tokens / (batch_sequences(c) * context))
        for e, tokens, c, context in zip(*(runs[k] for k in ("n_experts", "tokens", "budget", "context")), strict=True)
    ]
    return runs.assign(chosen=chosen, **{name: values - values.mean() for name, values in logs.items()})


def _fit(runs: pd.DataFrame, draws: int) -> Grid:
    cells = sorted(set(zip(runs["budget"].astype(float), runs["n_experts"].astype(int), strict=True)))
    levels = _levels(runs, cells)
    u, v, a, c = (runs[name].to_numpy(float) for name in "uvac")
    fit = least_squares(
        np.column_stack([levels, u, v, u * u, u * v, v * v, u * a, v * a, u * c, v * c]), runs["loss"].to_numpy(float)
    )
    if fit is None or fit.freedom < 1:
        raise FitError(f"{len(runs)} runs: expected several rates and batches at each of two budgets and more")
    return Grid(runs, _drawn(fit, draws), cells, float(np.sqrt(fit.variance)))


def _drawn(fit: LinearFit, draws: int) -> Array:
    rng = np.random.default_rng(0)
    spread = np.sqrt(fit.freedom / rng.chisquare(fit.freedom, draws))[:, None]
    away = rng.normal(size=(draws, len(fit.weights))) @ (fit.root * np.sqrt(fit.variance)).T
    return np.vstack([fit.weights, fit.weights + spread * away])


def rate_figure(found: Grid) -> alt.LayerChart:
    """The best rate over the recipe's at each budget and number of experts, with intervals."""
    rows = []
    for cell in found.cells:
        values = np.exp(found.best_rate(cell, batch_sequences(cell[0])))
        low, high = np.quantile(values[1:], _LEVEL)
        rows.append((budget_name(cell[0]), cell[1], values[0], low, high))
    table = pd.DataFrame(rows, columns=["budget", "n_experts", "ratio", "low", "high"])
    counts, order = sorted({e for _, e in found.cells}), list(dict.fromkeys(table["budget"]))
    base = alt.Chart(table).encode(
        x=alt.X("n_experts:O", title="experts, E").axis(labelAngle=0), xOffset=alt.XOffset("budget:N", sort=order),
        color=alt.Color("n_experts:O", title="E", scale=expert_scale(counts), legend=None),
    )  # fmt: skip
    name = "best rate over the recipe's"
    y = alt.Y("low:Q", title=name).scale(type="log", nice=False, padding=12).axis(values=[0.7, 0.8, 0.9, 1, 1.1, 1.2])
    rule = alt.Chart(table).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y=alt.datum(1.0))
    points = base.mark_point(filled=True, size=60).encode(
        y="ratio:Q",
        shape=alt.Shape("budget:N", title=None, sort=order),
        tooltip=["budget", "n_experts", "ratio", "low", "high"],
    )
    last = [r[2] for r in rows if r[1] == counts[-1]]
    return (rule + base.mark_rule(strokeWidth=2).encode(y=y, y2="high:Q") + points).properties(
        width="container", height=260,
        title=f"With {counts[-1]} experts the best rate is {min(last):.2f} to {max(last):.2f} of the recipe's",
        description="Best learning rate over the recipe's against the number of experts at two budgets, with 95 "
        "percent intervals: near one for dense models, and lower the more experts there are.",
    )  # fmt: skip


def exponent_table(found: Grid) -> pd.DataFrame:
    """The exponents of the activation ratio with intervals, beside the paper's."""
    rate, batch = found.free_exponents
    rows = [
        ("rate, batch as it is", _interval(found.rate_exponent), ""),
        ("rate, batch free", _interval(rate), f"{PAPER['rate']:+.3f}"),
        ("batch, rate free", _interval(batch), f"{PAPER['batch']:+.3f}"),
        ("the recipe's rate, E up to 8", "+0.115", ""),
        ("the recipe's rate, E above 8", "0", ""),
    ]
    return pd.DataFrame(rows, columns=["exponent of K/E", "here", "the study"]).set_index("exponent of K/E")


@dataclass(frozen=True)
class Cell:
    """One cell fitted by itself: the best rate at the recipe's batch over the recipe's, 1 + B; and the bowl's share.

    Attributes:
        budget: FLOPs.
        experts: E.
        rate: the factor.
        bowl: share of the draws in which rate and batch have a best place together, and not a valley between them.
    """

    budget: float
    experts: int
    rate: Array
    bowl: float


def cells_alone(found: Grid) -> list[Cell]:
    """Each cell by itself, without what its neighbours say."""
    made = []
    for budget, e in found.cells:
        part = found.runs[(found.runs["budget"] == budget) & (found.runs["n_experts"] == e)]
        x = np.log((part["learning_rate"] / part["chosen"]).to_numpy(float))
        y = np.log((part["batch_sequences"] / batch_sequences(budget)).to_numpy(float))
        fit = least_squares(np.column_stack([np.ones_like(x), x, y, x * x, x * y, y * y]), part["loss"].to_numpy(float))
        if fit is None or fit.freedom < 1:
            raise FitError(f"{len(part)} runs with E = {e} at {budget:g} FLOPs: expected several rates and batches")
        _, b, _, uu, uv, vv = _drawn(fit, len(found.draws) - 1).T
        bowls = (4 * uu * vv - uv**2 > 0) & (uu > 0)
        made.append(Cell(budget, e, np.exp(-b / (2 * uu)), float(bowls[1:].mean())))
    return made


def cell_table(found: Grid) -> pd.DataFrame:
    """The best rate over the recipe's: each cell by itself, and by the quadratic that all share."""
    rows = [
        {
            "C": budget_label(each.budget), "E": str(each.experts), "by itself": _factor(each.rate),
            "all together": _factor(
                np.exp(found.best_rate((each.budget, each.experts), batch_sequences(each.budget)))
            ),
        }
        for each in cells_alone(found)
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index(["C", "E"])


def judged(found: Grid, claims_file: str, placebos: int, draws: int) -> list[Judged]:
    """The verdicts on settings across sparsity, beside runs whose best settings are the same for all.

    A placebo has what a fit without the activation ratio says of each setting, lopsided as valleys in the rate are, and
    the runs' scatter. So what the places of the grid alone would do, which follow the recipe, a placebo does too.
    """
    runs, levels = found.runs, _levels(found.runs, found.cells)
    u, v, c = (runs[name].to_numpy(float) for name in "uvc")
    fit = least_squares(
        np.column_stack([levels, u, v, u * u, u * v, v * v, u * c, v * c, u**3]), runs["loss"].to_numpy(float)
    )
    assert fit is not None, "the grid had more columns"
    flat, asked = runs["loss"].to_numpy(float) - fit.residual, []
    for seed in range(placebos):
        noise = found.scatter * np.random.default_rng(200 + seed).normal(size=len(runs))
        asked.append(_quantities(_fit(runs.assign(loss=flat + noise), draws)))
    return verdicts(claims_file, _quantities(found), "settings on program text", asked)


def _levels(runs: pd.DataFrame, cells: list[tuple[float, int]]) -> Array:
    keys = zip(runs["budget"].astype(float), runs["n_experts"].astype(int), strict=True)
    return np.array([[key == cell for cell in cells] for key in keys], float)


def _quantities(found: Grid) -> dict[str, list[Finding]]:
    rate, batch = found.free_exponents
    return {
        "rate": [finding("all runs", found.rate_exponent)], "rate_free": [finding("all runs", rate)],
        "batch": [finding("all runs", batch)],
    }  # fmt: skip


def numbers(found: Grid, said: list[Judged]) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    rate, batch = found.free_exponents
    words = {each.claim.key: each.text for each in said}
    most = max(e for _, e in found.cells)
    cells = [cell for cell in found.cells if cell[1] == most]
    ratios = [np.exp(found.best_rate(cell, batch_sequences(cell[0]))) for cell in cells]
    lost = [found.weight("uu") * np.log(ratio) ** 2 for ratio in ratios]
    return {
        "tg_bowls": f"{sum(each.bowl >= 0.95 for each in cells_alone(found))} of {len(found.cells)}",
        "tg_runs": len(found.runs), "tg_rate": _interval(found.rate_exponent), "tg_rate_free": _interval(rate),
        "tg_batch": _interval(batch), "tg_most": most,
        "tg_ratio": " and ".join(f"{_factor(r)} at {budget_label(c)}" for r, (c, _) in zip(ratios, cells, strict=True)),
        "tg_lost": " and ".join(_short(each) for each in lost), "tg_scatter": f"{found.scatter:.3f}",
        "tg_word_rate": words["rate-falls-with-sparsity"], "tg_word_exponent": words["rate-exponent"],
        "tg_word_batch": words["batch-exponent"],
    }  # fmt: skip


def _interval(values: Array) -> str:
    low, high = np.quantile(values[1:], _LEVEL)
    return f"{values[0]:+.3f} [{low:+.3f}, {high:+.3f}]"


def _factor(values: Array) -> str:
    low, high = np.quantile(values[1:], _LEVEL)
    return f"{values[0]:.2f} [{low:.2f}, {high:.2f}]"


def _short(values: Array) -> str:
    low, high = np.quantile(values[1:], _LEVEL)
    return f"{values[0]:.4f} [{low:.4f}, {high:.4f}]"
