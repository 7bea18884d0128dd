"""How good the paper's descriptions are on a study: its surface, its law, its parabolas, its probes."""

import numpy as np
import pandas as pd

from howmany.downstream import compare_at_equal_loss, equal_loss, pool
from howmany.pairs import at_equal_size, mean_difference, pairs
from howmany.study import Study, budget_label
from howmany.verdict import Finding, finding
from moelaws.fitting.fit import fit
from moelaws.fitting.objective import FitError
from moelaws.surfaces.degrees import DEGREES, choose
from moelaws.surfaces.parabola import Parabola, fit_parabola
from moelaws.surfaces.polynomial import Array, Degree, SurfaceError, sparsity_coordinate
from moelaws.surfaces.surface import Surface

PAPER_DEGREE: Degree = (2, 2, 2)
"""What cross-validation chose in Abnar et al. 2025, App. B."""

READING = ("recall", "mention", "same words", "same order")
"""Probes that ask for what stands in the context, the nearest to reading comprehension that models this small have."""

_SYMBOLS = {"total_params": "N", "active_params": "N_a"}
_REDRAWS = 1000
_FOLDS = 5


def surface_degree(study: Study, sign: int) -> list[Finding]:
    """Held-out squared error of degree (2, 2, 2) over that of the degree chosen without the points it is asked for.

    A fifth of the points is left out; on the others cross-validation chooses a degree, and both surfaces predict the
    fifth. So the degree chosen is asked for points that it was not chosen by. The interval redraws the points.
    """
    found = []
    for (budget, variable), surface in study.surfaces.items():
        where = f"{budget_label(budget)} ({_SYMBOLS[variable]})"
        squares = _out_of_fold(surface, variable)
        if squares is None:
            found.append(Finding(where, open="too few sizes for degree (2, 2, 2)"))
        else:
            paper, chosen = (_redrawn_mean(surface, each) for each in squares)
            found.append(finding(where, np.log(paper / chosen), "times"))
    return found


def surface_error(study: Study, sign: int) -> list[Finding]:
    """Held-out squared error of each surface, the noise of the runs included."""
    return [
        finding(f"{budget_label(budget)} ({_SYMBOLS[variable]})", _redrawn_mean(surface, surface.errors**2), "nats²")
        for (budget, variable), surface in study.surfaces.items()
    ]


def law_skill(study: Study, sign: int) -> list[Finding]:
    """What Eq. 6 knows of a sparsity that it was not fitted to: its squared error less that of a law without sparsity.

    Both are fitted to the runs below the highest sparsity. The other law is Hoffmann's, in active parameters and
    tokens. As a share of that law's error; below zero Eq. 6 is the better one. The interval redraws the points.
    """
    if study.law is None:
        return []
    blind, runs = fit("hoffmann2022", study.seen), study.unseen
    loss = runs["loss"].to_numpy(float)
    squares = [(np.asarray(each.predict(runs), float) - loss) ** 2 for each in (study.law, blind)]
    counts = _redrawn(len(loss), seed=0)
    mine, other = (counts @ each for each in squares)
    return [finding("all budgets", mine / other - 1, "of the error")]


def equal_sparsity(study: Study, sign: int) -> list[Finding]:
    """Loss with two experts of full width a token less that with one, at equal active size and sparsity, by budget."""
    every, found = study.every, []
    if "granularity" not in every.columns:
        return []
    coarse = every[(every["granularity"] == 1) & (every["sparsity"] > 0)]
    for budget, runs in coarse.groupby("budget"):
        two = runs[runs["top_k"] == 2]
        if two.empty:
            continue
        near = runs["d_model"].between(0.8 * two["d_model"].min(), 1.25 * two["d_model"].max())
        both = runs[near & runs["sparsity"].isin(two["sparsity"])]
        rows = at_equal_size(both.assign(design="K = " + both["top_k"].astype(str)), "design", "K = 1")
        mean = rows[rows["sparsity"].isna() & (rows["design"] == "K = 2")].iloc[0]
        value, low, high = (float(mean[name]) for name in ("difference", "low", "high"))
        found.append(Finding(budget_label(float(str(budget))), value, low, high, "nats"))
    return found


def finer_loss(study: Study, sign: int) -> list[Finding]:
    """Loss with each expert cut in G, and G of them chosen, less that with one uncut, by budget and G, seed by seed."""
    every, found = study.every, []
    if "granularity" not in every.columns:
        return []
    for budget, runs in every[every["sparsity"] > 0].groupby("budget"):
        same = runs[(runs["top_k"] == runs["granularity"]) & (runs["granularity"] > 1)]
        for cut in sorted(same["granularity"].unique()):
            where = f"{budget_label(float(str(budget)))}, G = {cut:g}"
            try:
                both = pairs(runs, {"top_k": 1, "granularity": 1}, {"top_k": cut, "granularity": cut})
            except FitError:
                continue
            mean = mean_difference(both)
            found.append(Finding(where, mean["mean"], mean["low"], mean["high"], "nats"))
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


def _out_of_fold(surface: Surface, variable: str) -> tuple[Array, Array] | None:
    """Squared errors of degree (2, 2, 2), and of the degree chosen on the other points, run by run."""
    runs, fold = surface.runs, _points(surface).to_numpy() % _FOLDS
    log_n, loss = np.log(runs[variable].to_numpy(float)), runs["loss"].to_numpy(float)
    s_hat = sparsity_coordinate(runs["sparsity"].to_numpy(float))
    squares = np.empty((2, len(runs)))
    for left in range(_FOLDS):
        out, kept = fold == left, fold != left
        for row, degrees in enumerate(([PAPER_DEGREE], DEGREES)):
            try:
                choice = choose(degrees, log_n[kept], s_hat[kept], loss[kept])
            except SurfaceError:
                return None
            weights = choice.best.weights(choice.loss, choice.terms)
            squares[row, out] = (loss[out] - choice.terms.design(log_n[out], s_hat[out]) @ weights) ** 2
    return squares[0], squares[1]


def _redrawn_mean(surface: Surface, values: Array) -> Array:
    """Mean over runs of a value each, and after it the means when the surface's points are drawn again."""
    by_point = pd.DataFrame({"value": values, "runs": 1}).groupby(_points(surface).to_numpy()).sum()
    counts = _redrawn(len(by_point), seed=0)
    mean: Array = (counts @ by_point["value"].to_numpy(float)) / (counts @ by_point["runs"].to_numpy(float))
    return mean


def _redrawn(n: int, seed: int) -> Array:
    """How often each of n points is there: once each, and after it as they are drawn again."""
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_REDRAWS)
    return np.concatenate([np.ones((1, n)), counts])


def _points(surface: Surface) -> pd.Series:
    return surface.runs.groupby([surface.variable, "sparsity"]).ngroup()


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
