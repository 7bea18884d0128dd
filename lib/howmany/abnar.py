"""What the claims of Abnar et al. 2025 come to in a study: a quantity for each, with an interval from the refits.

Each claim's rule is also asked of the claim's placebo, in ``verdicts``, and nowhere else.

A quantity takes a study and the claimed direction (+1, -1, or 0), and returns a finding for each budget, for each
budget and the next, or one for all budgets. It returns none where the study holds nothing to compute it from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from howmany import goodness
from howmany.budget_optima import STEP, Landscape, Path
from howmany.claims import Claim
from howmany.study import PLAIN, Study, budget_label
from howmany.verdict import Finding, Judged, finding, judge, trend
from howmany.verdicts.finer_rule import ruled
from howmany.verdicts.multiplier import multiplier, multiplier_8, multiplier_32
from moelaws.fitting.least_squares import least_squares
from moelaws.surfaces.polynomial import Array

Quantity = Callable[[Study, int], list[Finding]]

EDGE = "an optimum lies at an edge of the sizes tried"

_FIXED_SIZE = 5e8  # parameters, of App. D.2
_DENSE = 1e-9  # -ln(1 - S*) below this is S* = 0


def verdicts(
    claims: Iterable[Claim], study: Study, placebos: Mapping[str, Sequence[Study]] = MappingProxyType({})
) -> list[Judged]:
    """Judge all claims by one study, and by its placebos.

    Args:
        claims: from ``read_claims``; those without a quantity are not testable here, by their note.
        study: a text's, or a law's.
        placebos: kind -> studies, see ``verdicts.placebo``; each claim is asked of those of its kind.

    Raises:
        ValueError: a claim names a quantity that is not in ``QUANTITIES``.
    """
    judged = []
    for claim in claims:
        if claim.quantity and claim.quantity not in QUANTITIES:
            raise ValueError(f"claim {claim.key!r}: no quantity {claim.quantity!r}; there are {', '.join(QUANTITIES)}")
        said = _judged(claim, study)
        asked = placebos.get(claim.placebo, ()) if said.findings else ()
        judged.append(said.beside([_judged(claim, placebo) for placebo in asked]))
    return ruled(judged, study.every) if study.design == PLAIN and len(study.every) else judged


def _judged(claim: Claim, study: Study) -> Judged:
    return judge(claim, QUANTITIES[claim.quantity](study, claim.sign) if claim.quantity else [], study.name)


def best_total(study: Study, sign: int) -> list[Finding]:
    """Factor of N* from the lowest to the highest sparsity, at each budget."""
    return [_along(each, each.total, each.total.at, sign, "times") for each in study.landscapes]


def best_active(study: Study, sign: int) -> list[Finding]:
    """Factor of N_a* from the lowest to the highest sparsity, at each budget."""
    return [_along(each, each.active, each.active.at, sign, "times") for each in study.landscapes]


def best_loss(study: Study, sign: int) -> list[Finding]:
    """Change of L* from the lowest to the highest sparsity, at each budget."""
    return [_along(each, each.lowest, each.lowest.loss, sign, "nats") for each in study.landscapes]


def loss_slopes(study: Study) -> list[tuple[float, Array]]:
    """Slope of L* against log2 of 1 / (1 - S) at each budget: (C, 1 + B slopes in nats per doubling).

    A straight line through the sparsities whose best size lies inside those tried; budgets with fewer than three such
    sparsities are passed over.
    """
    slopes = []
    for each in study.landscapes:
        inside = each.lowest.inside
        if inside.sum() >= 3:
            doublings = each.lowest.along[inside] / np.log(2)
            slopes.append((each.budget, _slope(doublings, each.lowest.loss[inside])))
    return slopes


def loss_slope_by_budget(study: Study, sign: int) -> list[Finding]:
    """How the slope of L* against sparsity changes with a decade of budget, as a share of its mean over the budgets.

    Where sparsity gains nothing on the mean, there is no slope that could stay the same.
    """
    slopes = loss_slopes(study)
    if len(study.landscapes) < 2 or len(slopes) < 2:
        return _by_decade(study, slopes, "")
    values = np.array([each for _, each in slopes])
    mean = finding("mean", values.mean(axis=0))
    if mean.high >= 0:
        return [Finding(_span([budget for budget, _ in slopes]), open="sparsity gains nothing that could stay")]
    return _by_decade(
        study, [(budget, each / values.mean(axis=0)) for budget, each in slopes], "times its mean a decade"
    )


def sparsest(study: Study, sign: int) -> list[Finding]:
    """L* at the highest sparsity less the lowest L* at any other, at each budget."""
    found = []
    for each in study.landscapes:
        losses = each.lowest.loss
        other = int(np.argmin(losses[:-1, 0]))
        step = finding(budget_label(each.budget), losses[-1] - losses[other], "nats")
        found.append(step if each.lowest.inside[[other, -1]].all() else _open(each, EDGE))
    return found


def best_sparsity_by_size(study: Study, sign: int) -> list[Finding]:
    """Factor of 1 / (1 - S*) from the smallest to the largest total size at which S* lies inside those tried."""
    found = []
    for each in study.landscapes:
        path = each.sparsity
        if path.inside.sum() < 2:
            found.append(_open(each, "S* lies at an edge of the sparsities tried"))
            continue
        names = [f"N = {np.exp(x):.2g}" for x in path.along[path.inside]]
        found.append(trend(budget_label(each.budget), path.at[path.inside], names, sign or 1, "times"))
    return found


def last_doubling(study: Study, sign: int) -> list[Finding]:
    """Change of the loss with the last doubling of 1 / (1 - S), at the largest size tried at two sparsities."""
    return [finding(budget_label(each.budget), each.last_step, "nats") for each in study.landscapes]


def best_sparsity_by_budget(study: Study, sign: int) -> list[Finding]:
    """Factor of 1 / (1 - S*) from a budget to the next, at equal total size: the mean over sizes in common.

    Sizes count at which S* lies inside what was tried and is above zero at both budgets; or at one of them, where
    there is no such size.
    """
    found = []
    for one, two in pairwise(study.landscapes):
        first, second = _common(one.sparsity, two.sparsity)
        sparse = one.sparsity.at[first, 0] > _DENSE, two.sparsity.at[second, 0] > _DENSE
        above = sparse[0] & sparse[1] if (sparse[0] & sparse[1]).any() else sparse[0] | sparse[1]
        if not above.any():
            found.append(_open_pair(one, two, "no size in common has its S* inside the sparsities tried"))
            continue
        moved = two.sparsity.at[second[above]] - one.sparsity.at[first[above]]
        found.append(finding(_pair(one, two), moved.mean(axis=0), "times"))
    return found


def dense_threshold(study: Study, sign: int) -> list[Finding]:
    """Factor, from a budget to the next, of the total size below which the dense model is the best."""
    found = []
    for one, two in pairwise(study.landscapes):
        ends = [_threshold(each.sparsity) for each in (one, two)]
        if any(np.isnan(end).mean() > 0.05 or np.isnan(end[0]) for end in ends):
            found.append(_open_pair(one, two, "the dense model is the best at no size tried"))
        else:
            moved = ends[1] - ends[0]
            found.append(finding(_pair(one, two), moved[np.isfinite(moved)], "times"))
    return found


def dense_at_fixed_size(study: Study, sign: int) -> list[Finding]:
    """S* at 5e8 total parameters, at each budget with such sizes."""
    found = []
    for each in study.landscapes:
        path, at = each.sparsity, np.log(_FIXED_SIZE)
        if path.along.min() <= at <= path.along.max():
            s_hat = np.array([np.interp(at, path.along, column) for column in path.at.T])
            found.append(finding(budget_label(each.budget), -np.expm1(-s_hat)))
    return found


def total_by_budget(study: Study, sign: int) -> list[Finding]:
    """Exponent of N* in C from a budget to the next, at the sparsity where it speaks most against the claim."""
    return [_exponent(one, two, one.total, two.total, sign) for one, two in pairwise(study.landscapes)]


def active_by_budget(study: Study, sign: int) -> list[Finding]:
    """Exponent of N_a* in C from a budget to the next, at the sparsity where it speaks most against the claim."""
    return [_exponent(one, two, one.active, two.active, sign) for one, two in pairwise(study.landscapes)]


def active_drop(study: Study, sign: int) -> list[Finding]:
    """How N_a*(sparsest) - N_a*(densest), in parameters, changes with a decade of budget."""
    drops = [(each.budget, np.exp(_ends(each.active)[1]) - np.exp(_ends(each.active)[0])) for each in _bracketed(study)]
    return _by_decade(study, drops, "parameters per decade")


def active_ratio(study: Study, sign: int) -> list[Finding]:
    """Factor of N_a*(sparsest) / N_a*(densest) with a decade of budget."""
    ratios = [(each.budget, np.subtract(*_ends(each.active)[::-1])) for each in _bracketed(study)]
    return _by_decade(study, ratios, "times")


QUANTITIES: Mapping[str, Quantity] = {
    function.__name__: function
    for function in (
        best_total, best_active, best_loss, loss_slope_by_budget, sparsest, best_sparsity_by_size,
        last_doubling, best_sparsity_by_budget, dense_threshold, dense_at_fixed_size, total_by_budget,
        active_by_budget, active_drop, active_ratio, multiplier, multiplier_8, multiplier_32,
        goodness.surface_degree, goodness.surface_error, goodness.law_skill, goodness.equal_sparsity,
        goodness.finer_loss, goodness.parabola_total, goodness.parabola_active, goodness.knowing_penalty,
        goodness.reading_penalty,
    )
}  # fmt: skip
"""Name -> what is computed."""


def _along(each: Landscape, path: Path, values: Array, sign: int, unit: str) -> Finding:
    if not path.inside[[0, -1]].all():
        return _open(each, EDGE)
    names = [f"E = {np.exp(x):.3g}" for x in path.along[path.inside]]
    return trend(budget_label(each.budget), values[path.inside], names, sign or 1, unit)


def _open(each: Landscape, why: str) -> Finding:
    return Finding(budget_label(each.budget), open=why)


def _pair(one: Landscape, two: Landscape) -> str:
    return f"{budget_label(one.budget)} to {budget_label(two.budget)}"


def _open_pair(one: Landscape, two: Landscape, why: str) -> Finding:
    return Finding(_pair(one, two), open=why)


def _common(one: Path, two: Path) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the places that both paths have, with an optimum inside what was tried."""
    _, first, second = np.intersect1d(one.along.round(6), two.along.round(6), return_indices=True)
    inside = one.inside[first] & two.inside[second]
    return first[inside], second[inside]


def _exponent(one: Landscape, two: Landscape, a: Path, b: Path, sign: int) -> Finding:
    first, second = _common(a, b)
    if not len(first):
        return _open_pair(one, two, EDGE)
    exponents = (b.at[second] - a.at[first]) / np.log(two.budget / one.budget)
    return finding(_pair(one, two), exponents.max(axis=0) if sign < 0 else exponents.min(axis=0))


def _threshold(path: Path) -> Array:
    """ln of the size up to which S* = 0, for the fit and each refit; NaN where it is the best at no or at all sizes."""
    dense = path.at <= _DENSE
    count = np.where(dense.all(axis=0), len(dense), np.argmin(dense, axis=0))
    limit = path.along[np.clip(count - 1, 0, None)] + STEP / 2
    return np.where((count == 0) | (count == len(dense)), np.nan, limit)


def _bracketed(study: Study) -> list[Landscape]:
    return [each for each in study.landscapes if each.active.inside[[0, -1]].all()]


def _ends(path: Path) -> Array:
    return path.at[[0, -1]]


def _slope(x: Array, values: Array) -> Array:
    """Slope of the straight line through values (P x anything) at x."""
    fit = least_squares(np.column_stack([np.ones_like(x), x]), values)
    assert fit is not None, "two places or more"
    slope: Array = fit.weights[1]
    return slope


def _span(budgets: Sequence[float]) -> str:
    return f"{budget_label(budgets[0])} to {budget_label(budgets[-1])}"


def _by_decade(study: Study, by_budget: list[tuple[float, Array]], unit: str) -> list[Finding]:
    """One finding: the slope of something against log10 C over all budgets that have it; none for a single budget."""
    if len(study.landscapes) < 2:
        return []
    if len(by_budget) < 2:
        return [Finding(f"{len(study.landscapes)} budgets", open=EDGE)]
    budgets = [budget for budget, _ in by_budget]
    return [finding(_span(budgets), _slope(np.log10(budgets), np.array([values for _, values in by_budget])), unit)]
