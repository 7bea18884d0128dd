"""How good the paper's descriptions are on a study: its surface, its law, its parabolas, its count of FLOPs."""

import numpy as np
import pandas as pd

from howmany.downstream import compare_at_equal_loss, equal_loss, pool
from howmany.study import Study, budget_label
from howmany.verdict import Finding, finding
from moelaws.fitting.result import FitResult
from moelaws.runs.seeds import pooled_variance
from moelaws.surfaces.isoflop import fit_surface
from moelaws.surfaces.parabola import Parabola, fit_parabola
from moelaws.surfaces.polynomial import Array, Degree, SurfaceError
from moelaws.surfaces.surface import Surface

PAPER_DEGREE: Degree = (2, 2, 2)
"""What cross-validation chose in Abnar et al. 2025, App. B."""

READING = ("recall", "mention", "same words", "same order")
"""Probes that ask for what stands in the context, the nearest to reading comprehension that models this small have."""

_SYMBOLS = {"total_params": "N", "active_params": "N_a"}
_REDRAWS = 1000


def surface_degree(study: Study, sign: int) -> list[Finding]:
    """Held-out squared error of degree (2, 2, 2) less that of the degree chosen, for each budget and size.

    The interval redraws the points. The degree chosen is the best of 125 on these very points, so the difference
    leans to the large side.
    """
    found = []
    for (budget, variable), surface in study.surfaces.items():
        where = f"{budget_label(budget)} ({_SYMBOLS[variable]})"
        try:
            paper = fit_surface(surface.runs, variable, PAPER_DEGREE, bootstrap=0)
        except SurfaceError:
            found.append(Finding(where, open="too few sizes for degree (2, 2, 2)"))
            continue
        found.append(finding(where, _redrawn_mean(surface, paper.errors**2 - surface.errors**2), "nats²"))
    return found


def surface_error(study: Study, sign: int) -> list[Finding]:
    """Held-out squared error of each surface, less the variance between seeds, which no surface can predict."""
    found = []
    for (budget, variable), surface in study.surfaces.items():
        where, variance = f"{budget_label(budget)} ({_SYMBOLS[variable]})", _redrawn_variance(surface)
        if variance is None:
            found.append(Finding(where, open="no point has several seeds"))
        else:
            found.append(finding(where, _redrawn_mean(surface, surface.errors**2) - variance, "nats²"))
    return found


def law_fit(study: Study, sign: int) -> list[Finding]:
    """Share of the variance of the loss that Eq. 6 explains in the runs it was fitted to."""
    return [] if study.law is None else [_explained(study.law, study.seen, "all budgets")]


def law_held_out(study: Study, sign: int) -> list[Finding]:
    """Share of the variance that Eq. 6 explains in the runs of the highest sparsity, which it was not fitted to."""
    return [] if study.law is None else [_explained(study.law, study.unseen, "all budgets")]


def flops_ratio(study: Study, sign: int) -> list[Finding]:
    """C / (6 N_a D) of the runs at each budget: mean, least and largest."""
    found = []
    for budget, ratio in _ratios(study):
        found.append(Finding(budget_label(budget), float(ratio.mean()), float(ratio.min()), float(ratio.max())))
    return found


def flops_ratio_by_size(study: Study, sign: int) -> list[Finding]:
    """Change of the distance of C / (6 N_a D) from one, from the smallest to the largest active size of a budget."""
    found = []
    for budget, ratio in _ratios(study):
        size = study.runs.loc[ratio.index, "active_params"]
        ends = (ratio[[size.idxmin(), size.idxmax()]] - 1).abs().to_numpy()
        found.append(finding(budget_label(budget), ends[1:] - ends[:1]))
    return found


def parabola_total(study: Study, sign: int) -> list[Finding]:
    """Factor of N* from the lowest to the highest sparsity, each from a parabola through its own runs."""
    return _parabolas(study, "total_params")


def parabola_active(study: Study, sign: int) -> list[Finding]:
    """Factor of N_a* from the lowest to the highest sparsity, each from a parabola through its own runs."""
    return _parabolas(study, "active_params")


def knowing_penalty(study: Study, sign: int) -> list[Finding]:
    """What sparsity costs at equal loss in knowledge and language, from the densest to the sparsest model."""
    return _penalty(study, reading=False)


def reading_penalty(study: Study, sign: int) -> list[Finding]:
    """What sparsity costs at equal loss in reading, from the densest to the sparsest model."""
    return _penalty(study, reading=True)


def _explained(law: FitResult, runs: pd.DataFrame, where: str) -> Finding:
    loss, predicted = runs["loss"].to_numpy(float), np.asarray(law.law.predict(law.params, runs), float)
    drawn = np.random.default_rng(0).integers(len(loss), size=(_REDRAWS, len(loss)))
    drawn = np.concatenate([np.arange(len(loss))[None], drawn])
    unexplained = ((loss - predicted)[drawn] ** 2).sum(axis=1) / (len(loss) * loss[drawn].var(axis=1))
    return finding(where, 1 - unexplained)


def _redrawn_mean(surface: Surface, values: Array) -> Array:
    """Mean over runs of a value each, and after it the means when the surface's points are drawn again."""
    by_point = pd.DataFrame({"value": values, "runs": 1}).groupby(_points(surface).to_numpy()).sum()
    counts = _redrawn(len(by_point), seed=0)
    mean: Array = (counts @ by_point["value"].to_numpy(float)) / (counts @ by_point["runs"].to_numpy(float))
    return mean


def _redrawn_variance(surface: Surface) -> Array | None:
    """Variance between the seeds of a point, and after it the same when these points are drawn again."""
    points = surface.runs["loss"].groupby(_points(surface)).agg(["size", "var"])
    several = points[points["size"] > 1]
    if len(several) < 2:
        return None
    return pooled_variance(several["var"], _redrawn(len(several), seed=1) * (several["size"].to_numpy(float) - 1))


def _redrawn(n: int, seed: int) -> Array:
    """How often each of n points is there: once each, and after it as they are drawn again."""
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_REDRAWS)
    return np.concatenate([np.ones((1, n)), counts])


def _points(surface: Surface) -> pd.Series:
    return surface.runs.groupby([surface.variable, "sparsity"]).ngroup()


def _ratios(study: Study) -> list[tuple[float, pd.Series]]:
    if not {"train_flops", "active_params", "tokens", "budget"} <= set(study.runs.columns):
        return []
    ratio = study.runs["train_flops"] / (6 * study.runs["active_params"] * study.runs["tokens"])
    return [(float(str(budget)), group) for budget, group in ratio.groupby(study.runs["budget"])]


def _parabolas(study: Study, variable: str) -> list[Finding]:
    found = []
    for (budget, name), surface in study.surfaces.items():
        if name != variable:
            continue
        ends = [
            surface.runs[surface.runs["sparsity"] == end] for end in (surface.sparsities[0], surface.sparsities[-1])
        ]
        try:
            first, last = (fit_parabola(runs, variable) for runs in ends)
        except SurfaceError as error:
            found.append(Finding(budget_label(budget), open=str(error)))
            continue
        if not (_bracketed(first, ends[0]) and _bracketed(last, ends[1])):
            found.append(Finding(budget_label(budget), open="an optimum or its interval ends at an edge of the sizes"))
            continue
        moved = np.log(last.n / first.n)
        error_of = np.hypot(*(np.log(each.n_high / each.n_low) / 2 for each in (first, last)))
        found.append(Finding(budget_label(budget), moved, moved - error_of, moved + error_of, "times"))
    return found


def _bracketed(parabola: Parabola, runs: pd.DataFrame) -> bool:
    ends = runs[parabola.variable].min(), runs[parabola.variable].max()
    return bool(parabola.bracketed and ends[0] < parabola.n_low and parabola.n_high < ends[1])


def _penalty(study: Study, reading: bool) -> list[Finding]:
    """The pooled penalty of the sparsest models at equal loss, over the probes of one kind that follow the loss."""
    if study.probes is None:
        return []
    where, probes = "pooled", study.probes
    answers = (probes["metric"] == "accuracy") & (probes["probe"] != "mention")
    gains = probes["probe"].isin(READING) & probes["metric"].str.startswith("nats")
    asked = probes[(answers | gains) & (probes["probe"].isin(READING) == reading)]
    try:
        compared = compare_at_equal_loss(asked)
        if (compared["finding"] == "cannot tell").all():
            return [Finding(where, open="no probe follows the loss")]
        found = equal_loss(pool(asked, compared, where))
    except ValueError as error:
        return [Finding(where, open=str(error))]
    return [Finding(where, found.penalty, found.penalty_low, found.penalty_high, "nats of loss")]
