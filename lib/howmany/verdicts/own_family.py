"""Claims of Yun et al. 2024 asked of runs of the paper's own kind: dense sizes x experts x tokens, within their range.

At each number of experts ln L is a quadratic in ln N and ln D, N the size of the corresponding dense model; no law is
assumed, and nothing is asked outside the sizes and tokens tried. A budget is 6 N D, as in the paper. What a model costs
to serve is taken as its parameters without embeddings: the paper's Fig. 2 has it nearly so.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.stats import chi2

from howmany.claims import Claim
from howmany.gains import gains
from howmany.study import budget_label
from howmany.verdict import Finding, Judged, finding, judge
from howmany.verdicts.placebo import dense_cells
from moelaws.fitting.fit import fit
from moelaws.fitting.least_squares import least_squares
from moelaws.laws import law
from moelaws.laws.saturation import saturating
from moelaws.surfaces.polynomial import Array

DRAWS = 1000
STARTS = 8
"""Starts of a fit of the paper's law, to the runs and to their placebos."""
_GRID = 201
_BASE, _MANY, _STEPS = 4, 16, (8, 16, 32)
_NOWHERE = "the best model of four lies inside the sizes tried at no budget"


@dataclass(frozen=True)
class Own:
    """Runs of dense sizes x experts x tokens, with a surface of the loss at each number of experts.

    Attributes:
        name: of the runs.
        runs: as ``measured.experts.with_plan`` returns them.
        starts: of a fit of the paper's law.
    """

    name: str
    runs: pd.DataFrame
    starts: int = STARTS

    @cached_property
    def weights(self) -> dict[int, Array]:
        """Weights of the surface at each number of experts: the fit's, and draws from their covariance after it."""
        rng, found = np.random.default_rng(0), {}
        for count, group in self.runs.groupby("n_experts"):
            n, d = self._logs(group["dense_params"], group["planned"])
            solved = least_squares(_design(n, d), np.log(group["loss"].to_numpy(float)))
            assert solved is not None, f"E = {count}: too few sizes and tokens for a surface"
            drawn = rng.multivariate_normal(solved.weights, solved.covariance(), DRAWS)
            found[int(str(count))] = np.concatenate([solved.weights[None], drawn])
        return found

    @cached_property
    def sizes(self) -> tuple[float, float]:
        """The smallest and the largest dense size."""
        return float(self.runs["dense_params"].min()), float(self.runs["dense_params"].max())

    @cached_property
    def tokens(self) -> tuple[float, float]:
        """The fewest and the most tokens."""
        return float(self.runs["planned"].min()), float(self.runs["planned"].max())

    @cached_property
    def budgets(self) -> Array:
        """Budgets 6 N D at which sizes over a factor of two or more were tried, a fifth apart in ln C."""
        (n_low, n_high), (d_low, d_high) = self.sizes, self.tokens
        low, high = np.log(6 * 2 * n_low * d_low), np.log(6 * n_high * d_high / 2)
        return np.exp(np.linspace(low, high, int(np.ceil((high - low) / 0.2)) + 1))

    def loss(self, n: Array, tokens: Array, experts: int) -> Array:
        """Losses of the fit and of each draw: points x (1 + B)."""
        return np.exp(_design(*self._logs(n, tokens)) @ self.weights[experts].T)

    def stretch(self, budget: float) -> Array:
        """Dense sizes tried at a budget, from the smallest to the largest."""
        (n_low, n_high), (d_low, d_high) = self.sizes, self.tokens
        return np.geomspace(max(n_low, budget / (6 * d_high)), min(n_high, budget / (6 * d_low)), _GRID)

    def best(self, budget: float, experts: int) -> tuple[Array, Array, bool]:
        """The best dense size and the loss there in the fit and each draw, and whether it lies inside the sizes."""
        if (budget, experts) not in self._found:
            n = self.stretch(budget)
            loss = self.loss(n, budget / (6 * n), experts)
            at = loss.argmin(axis=0)
            inside = (at > 0) & (at < _GRID - 1)
            self._found[budget, experts] = n[at], loss.min(axis=0), bool(inside[0] and inside.mean() >= 0.95)
        return self._found[budget, experts]

    @cached_property
    def _found(self) -> dict[tuple[float, int], tuple[Array, Array, bool]]:
        """What ``best`` has found: each claim asks along the same budgets."""
        return {}

    def cost(self, experts: int) -> float:
        """What a mixture costs to serve over its dense model of equal width: the ratio of their parameters."""
        mixtures = self.runs[self.runs["n_experts"] == experts]
        return float((mixtures["non_embedding_params"] / mixtures["dense_params"]).mean())

    def within_cost(self, budget: float, cost: float, experts: int) -> Array | None:
        """The lowest loss among models that cost at most so much and spend the budget; none outside the runs."""
        n = self.stretch(budget)
        n = n[n * self.cost(experts) <= cost * (1 + 1e-9)]
        return self.loss(n, budget / (6 * n), experts).min(axis=0) if len(n) else None

    def nearest_cost(self, experts: int) -> tuple[float, float, float] | None:
        """Where a mixture can be asked at the serving cost of the best model of four, or next to it.

        Returns:
            The budget, the cost, and the cost over that of the best model of four, which is as near to one as the sizes
            and tokens tried allow; nothing where that model lies inside them at no budget.
        """
        found = []
        for budget in map(float, self.budgets):
            n, _, inside = self.best(budget, _BASE)
            if inside:
                base = float(n[0]) * self.cost(_BASE)
                cost = max(base, float(self.stretch(budget)[0]) * self.cost(experts))
                found.append((budget, cost, cost / base))
        return min(found, key=lambda each: each[2], default=None)

    def _logs(self, n: Array | pd.Series, tokens: Array | pd.Series) -> tuple[Array, Array]:
        centre = [np.log(end[0] * end[1]) / 2 for end in (self.sizes, self.tokens)]
        return np.log(np.asarray(n, float)) - centre[0], np.log(np.asarray(tokens, float)) - centre[1]


def rmsle(own: Own, sign: int) -> list[Finding]:
    """The error of ln L of the paper's law, Eq. 4, fitted to the runs; its interval is that of a standard deviation."""
    fitted = fit(saturating(law("yun2024")), own.runs, "lsq-log", starts=own.starts)
    error, free = fitted.quality.rmse_log, fitted.n_runs - len(fitted.params)
    low, high = error * np.sqrt(free / chi2.ppf([0.975, 0.025], free))
    return [Finding("all runs", error, float(low), float(high), "of ln L")]


def gain_by_tokens(own: Own, sign: int) -> list[Finding]:
    """Change of the gain from experts in nats with a doubling of the tokens, as a share of the gain."""
    gain, _, by_tokens = _plane(own, logs=False)
    if np.quantile(gain[1:], 0.025) <= 0:
        return [Finding("all runs", open="experts gain nothing that could stay")]
    return [finding("all runs", by_tokens / gain, "of the gain, a doubling")]


def gain_by_size(own: Own, sign: int) -> list[Finding]:
    """Change of the gain from experts in ln L with a doubling of the dense size."""
    return [finding("all runs", _plane(own, logs=True)[1], "of ln L, a doubling")]


def same_cost_gain(own: Own, sign: int) -> list[Finding]:
    """Loss of the best model of 16 experts within a serving cost and budget, less that of the best of four."""
    place = own.nearest_cost(_MANY)
    if place is None:
        return [Finding("all runs", open=_NOWHERE)]
    few, many = _at(own, place, (_BASE, _MANY))
    return [finding(_costing(place), many - few, "nats")]


def diminishing(own: Own, sign: int) -> list[Finding]:
    """Loss gained from 16 to 32 experts over that from 8 to 16, at one serving cost and budget."""
    place = own.nearest_cost(_STEPS[-1])
    if place is None:
        return [Finding("all runs", open=_NOWHERE)]
    few, some, many = _at(own, place, _STEPS)
    if np.quantile((few - some)[1:], 0.025) <= 0:
        return [Finding(_costing(place), open="16 experts gain nothing over 8 that a next step could fall short of")]
    return [finding(_costing(place), (some - many) / (few - some))]


def flops_share(own: Own, sign: int) -> list[Finding]:
    """FLOPs that 16 experts need for the loss of the best model of four, over that model's."""
    return _shares(own, [_widest(own, _BASE)]) if _widest(own, _BASE) else []


def gap_growth(own: Own, sign: int) -> list[Finding]:
    """Change of ln of that share from the smallest to the largest budget at which both optima lie inside the runs."""
    inside = [float(c) for c in own.budgets if own.best(float(c), _BASE)[2] and _share(own, float(c)) is not None]
    if len(inside) < 2:
        return [Finding("all runs", open="the optima lie inside the sizes tried at fewer than two budgets")]
    first, last = (_share(own, c) for c in (inside[0], inside[-1]))
    assert first is not None
    assert last is not None
    moved = np.log(last / first)
    return [finding(f"{budget_label(inside[0])} to {budget_label(inside[-1])}", moved[np.isfinite(moved)])]


QUANTITIES: Mapping[str, Callable[[Own, int], list[Finding]]] = {
    each.__name__: each
    for each in (
        rmsle, gain_by_tokens, gain_by_size, same_cost_gain, diminishing, flops_share, gap_growth,
    )
}  # fmt: skip
"""What a claim can be about that these runs can be asked: name -> what is computed."""


def verdicts(claims: Iterable[Claim], own: Own, placebos: Sequence[Own] = ()) -> list[Judged]:
    """Judge claims by runs of the paper's kind, and by their placebos.

    Args:
        claims: from ``claims.read_claims``; those that are about other budgets or nothing are not testable here.
        own: the runs.
        placebos: the same runs with the losses of their dense models.
    """
    judged = []
    for claim in claims:
        if claim.quantity in QUANTITIES:
            said = _judged(claim, own)
            judged.append(said.beside([_judged(claim, each) for each in placebos] if said.findings else []))
        else:
            why = claim.note if not claim.quantity else f"it is about {budget_label(claim.budgets[0])} FLOPs and more"
            judged.append(Judged(claim, "not testable here", reason=why, by=own.name))
    return judged


def placebos_of(own: Own, count: int) -> list[Own]:
    """The runs with the losses of their dense models, and noise by number of experts: one a draw of the noise."""
    return [Own(f"placebo {k}", dense_cells(own.runs, k), own.starts) for k in range(1, count + 1)]


def _judged(claim: Claim, own: Own) -> Judged:
    return judge(claim, QUANTITIES[claim.quantity](own, claim.sign), own.name)


def _design(n: Array, d: Array) -> Array:
    return np.column_stack([np.ones_like(n), n, d, n * n, n * d, d * d])


def _plane(own: Own, logs: bool) -> tuple[Array, Array, Array]:
    """The gain in the middle of the runs and its change per doubling of size and of tokens, the fit and its draws."""
    cells = gains(own.runs, ["d_model", "planned"], logs).rename(columns={"planned": "tokens"})
    mean = cells.groupby(["dense_params", "tokens"], as_index=False)["gain"].mean()
    doublings = np.log2(mean[["dense_params", "tokens"]].to_numpy(float))
    design = np.column_stack([np.ones(len(mean)), doublings - doublings.mean(axis=0)])
    solved = least_squares(design, mean["gain"].to_numpy(float))
    assert solved is not None, "sizes and tokens vary"
    rng = np.random.default_rng(0)
    # Student's t: few cells, and the scatter is theirs.
    wide = np.sqrt(solved.freedom / rng.chisquare(solved.freedom, DRAWS))[:, None]
    away = rng.multivariate_normal(np.zeros(3), solved.covariance(), DRAWS)
    gain, size, tokens = np.concatenate([solved.weights[None], solved.weights + wide * away]).T
    return gain, size, tokens


def _widest(own: Own, experts: int) -> float | None:
    """The budget in the middle of those at which the optimum lies inside the sizes tried."""
    inside = [float(c) for c in own.budgets if own.best(float(c), experts)[2]]
    return inside[len(inside) // 2] if inside else None


def _at(own: Own, place: tuple[float, float, float], experts: Sequence[int]) -> list[Array]:
    """Lowest losses at a budget within a cost that leaves each of these a size."""
    losses = [own.within_cost(*place[:2], count) for count in experts]
    return [loss for loss in losses if loss is not None]


def _costing(place: tuple[float, float, float]) -> str:
    return f"{budget_label(place[0])}, at {place[2]:.2f} times the cost of the best of four"


def _share(own: Own, budget: float) -> Array | None:
    """FLOPs of 16 experts over those of four at the loss of the best model of four; none outside the runs."""
    target = own.best(budget, _BASE)[1]
    path = [(float(c), *own.best(float(c), _MANY)[1:]) for c in own.budgets]
    inside = [(c, loss) for c, loss, found in path if found]
    if len(inside) < 2:
        return None
    log_c, losses = np.log([c for c, _ in inside]), np.array([loss for _, loss in inside])
    found = np.array([_reached(target[k], log_c, losses[:, k]) for k in range(losses.shape[1])])
    share: Array = np.exp(found) / budget
    return None if np.isnan(share[0]) or np.isnan(share).mean() > 0.05 else share


def _shares(own: Own, budgets: Sequence[float | None]) -> list[Finding]:
    found = []
    for budget in budgets:
        share = None if budget is None else _share(own, budget)
        if share is not None and budget is not None:
            found.append(finding(budget_label(budget), share[np.isfinite(share)]))
    return found or [Finding("all runs", open="16 experts reach that loss at no budget tried")]


def _reached(target: float, log_c: Array, losses: Array) -> float:
    if not losses[-1] <= target <= losses[0]:
        return float("nan")
    return float(np.interp(-target, -np.minimum.accumulate(losses), log_c))
