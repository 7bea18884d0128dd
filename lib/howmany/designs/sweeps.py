"""The book's sweeps: each a function that returns its runs. ``moelaws sweep NAME`` runs one.

Those on program text are in ``program_sweeps``.
"""

from collections.abc import Iterator
from dataclasses import replace

from howmany.designs.isoflop_design import FINER, STUDY, SYNTHETIC
from moelaws.config import ModelConfig, RunConfig
from moelaws.counting import training_flops_per_token
from moelaws.sweeping.sweep import SweepRun
from moelaws.text.synthetic import LANGUAGE
from moelaws.training.recipe import batch_sequences, language_model, language_recipe, recipe, run_at, tiny_model

TWO_DOMAINS = "sotu+docstrings"
"""Ten million tokens: read less than once but by the narrowest models at 1e13 FLOPs, up to 1.44 times."""


def learning_rates() -> list[SweepRun]:
    """Where is the best learning rate? Three widths, three budgets, three E, an octave apart; two seeds but at 3e12.

    The values tried are multiples of a first guess, 0.01 (32 / d)^0.7, and go on where the lowest was at an end.
    """
    runs = []
    for budget, width, multiples in (
        (1e11, 24, (0.5, 1.0, 2.0)),
        (1e12, 24, (0.25, 0.5, 1.0, 2.0)),
        (1e12, 40, (0.5, 1.0, 2.0)),
        (1e12, 64, (0.5, 1.0, 2.0, 4.0)),
        (3e12, 48, (0.5, 1.0, 2.0)),
    ):
        for n_experts in (1, 8, 32):
            for seed in (0, 1) if budget < 3e12 else (0,):
                base = _isoflop("learning_rates", budget, tiny_model(width, n_experts), seed)
                for multiple in multiples:
                    train = replace(base.run.train, learning_rate=0.01 * (32 / width) ** 0.7 * multiple)
                    runs.append(replace(base, run=replace(base.run, train=train)))
    return runs


def batches() -> list[SweepRun]:
    """Is the recipe's batch fair? Half of it to twice, at three budgets and three E; two seeds."""
    runs = []
    for seed in (0, 1):
        for budget, width in ((1e11, 16), (3e11, 24), (1e12, 40)):
            for n_experts in (1, 8, 32):
                base = _isoflop("batches", budget, tiny_model(width, n_experts), seed, TWO_DOMAINS)
                for factor in (0.5, 1.0, 2.0):
                    train = replace(base.run.train, batch_sequences=round(batch_sequences(budget) * factor))
                    runs.append(replace(base, run=replace(base.run, train=train)))
    return runs


def isoflop() -> list[SweepRun]:
    """The study: loss against size at equal FLOPs, dense to E = 64 with K = 1, four budgets and a held-out fifth."""
    return [run for budget in STUDY for run in _isoflop_at(budget)]


def isoflop_1e11() -> list[SweepRun]:
    """The study's runs of 1e11 FLOPs."""
    return _isoflop_at(1e11)


def isoflop_3e11() -> list[SweepRun]:
    """The study's runs of 3e11 FLOPs."""
    return _isoflop_at(3e11)


def isoflop_1e12() -> list[SweepRun]:
    """The study's runs of 1e12 FLOPs."""
    return _isoflop_at(1e12)


def isoflop_3e12() -> list[SweepRun]:
    """The study's runs of 3e12 FLOPs."""
    return _isoflop_at(3e12)


def isoflop_1e13() -> list[SweepRun]:
    """The study's held-out budget."""
    return _isoflop_at(1e13)


def granularity() -> list[SweepRun]:
    """More and finer experts at the study's second budget: K = 2, and G = 1, 2, 4 at equal sparsities; two seeds.

    The study has K = G = 1 at the same sparsities, widths and seed 0. K = G = 2 and K = G = 4 cost what K = G = 1
    does, and have as many parameters; K = 2 with G = 1 and G = 4 choose twice as much, and half as much.
    """
    budget, idle = 3e11, (0.5, 0.75, 0.875, 0.9375)
    return [
        _isoflop("granularity", budget, tiny_model(width, round(top_k / (1 - s)), top_k, g), seed, TWO_DOMAINS)
        for top_k, g in ((2, 1), (2, 2), (2, 4), (4, 4))
        for s in idle
        for width in (24, 32, 40)
        for seed in (0, 1)
    ]


def finer() -> list[SweepRun]:
    """More and finer experts at three budgets, to one idle share of 127/128: is the sparsest best once K > 1?"""
    return [run for budget in FINER for run in _finer_at(budget)]


def finer_1e12() -> list[SweepRun]:
    """The runs of ``finer`` at 1e12 FLOPs."""
    return _finer_at(1e12)


def finer_3e12() -> list[SweepRun]:
    """The runs of ``finer`` at 3e12 FLOPs."""
    return _finer_at(3e12)


def finer_1e13() -> list[SweepRun]:
    """The runs of ``finer`` at 1e13 FLOPs."""
    return _finer_at(1e13)


def largest() -> list[SweepRun]:
    """The study's largest budget again: a second and a third seed at the two best sizes, and the recipe checked.

    The sizes are the two of lowest loss at seed 0 that read their text at most once. Half and twice the rate and
    the batch are at the best of them, dense and with 64 experts.
    """
    best = {1: (80, 96), 4: (64, 80), 16: (64, 80), 64: (64, 80)}
    seeds = [
        _isoflop("largest", 1e13, tiny_model(width, n_experts), seed, TWO_DOMAINS)
        for n_experts, widths in best.items()
        for width in widths
        for seed in (1, 2)
    ]
    bases = [_isoflop("largest", 1e13, tiny_model(best[e][0], e), 0, TWO_DOMAINS) for e in (1, 64)]
    return seeds + [changed for base in bases for changed in _half_and_twice(base)]


def experts() -> list[SweepRun]:
    """The table that Yun et al.'s law needs: dense sizes x E x tokens over a factor of eight.

    As theirs: two experts a token, in every second layer, and tokens that do not hang on E. Runs of equal width and
    tokens share their batches, which the dense model's cost sets. Every run has two seeds; at one size, three.
    """
    runs = []
    for width in (16, 24, 32, 48):
        dense = replace(tiny_model(width), moe_every=2)
        for tokens in (300_000, 600_000, 1_200_000, 2_400_000):
            flops = float(tokens * training_flops_per_token(dense))
            for n_experts in (1, 4, 8, 16, 32):
                model = replace(dense, n_experts=n_experts, top_k=min(2, n_experts))
                for seed in range(3 if (width, tokens) == (24, 1_200_000) else 2):
                    train = recipe(model, flops, tokens, seed)
                    runs.append(SweepRun(RunConfig(model, train, TWO_DOMAINS), "experts"))
    return runs


def synthetic() -> list[SweepRun]:
    """The study on a language whose entropy is known: dense to E = 64, five budgets; more seeds near the best."""
    return [
        _synthetic("synthetic", budget, model, seed)
        for budget, design in SYNTHETIC.items()
        for model, seed in design.runs(language_model)
    ]


def spot_checks() -> list[SweepRun]:
    """Is the recipe fair where it was not made? Half and twice the rate and the batch, at six points of the study.

    Two more points are on the synthetic language. The studies themselves have the runs with the recipe's own values,
    at the same seeds.
    """
    runs = []
    for budget, width, n_experts, seeds in (
        (1e11, 16, 4, 3), (3e11, 24, 2, 3), (3e11, 24, 64, 3), (1e12, 32, 16, 2), (1e12, 40, 64, 2), (3e12, 48, 16, 1),
    ):  # fmt: skip
        model = tiny_model(width, n_experts)
        runs += [_isoflop("spot_checks", budget, model, seed, TWO_DOMAINS) for seed in range(seeds)]
    for budget, width, n_experts in ((1.2e10, 24, 4), (1.08e11, 32, 16)):
        model = language_model(width, n_experts)
        runs += [_synthetic("spot_checks", budget, model, seed) for seed in range(3)]
    return [changed for run in runs for changed in _half_and_twice(run)]


def _half_and_twice(base: SweepRun) -> Iterator[SweepRun]:
    """A run with half and twice its learning rate, and with half and twice its batch."""
    train = base.run.train
    for factor in (0.5, 2.0):
        for changed in (
            replace(train, learning_rate=factor * train.learning_rate),
            replace(train, batch_sequences=round(factor * train.batch_sequences)),
        ):
            yield replace(base, run=replace(base.run, train=changed))


def _isoflop_at(budget: float) -> list[SweepRun]:
    """One budget of the study: every width at every E once, and the replicated widths with more seeds."""
    return [_isoflop("isoflop", budget, model, seed, TWO_DOMAINS) for model, seed in STUDY[budget].runs(tiny_model)]


def _finer_at(budget: float) -> list[SweepRun]:
    """One budget of ``finer``: all its experts at each width, two seeds."""
    design = FINER[budget]
    return [
        _isoflop("finer", budget, tiny_model(width, n_experts, top_k, granularity), seed, TWO_DOMAINS)
        for n_experts, top_k, granularity in design.experts
        for width in design.widths
        for seed in (0, 1)
    ]


def _isoflop(sweep: str, budget: float, model: ModelConfig, seed: int, corpus: str = "sotu") -> SweepRun:
    return SweepRun(run_at(budget, model, seed, corpus), sweep, budget)


def _synthetic(sweep: str, budget: float, model: ModelConfig, seed: int) -> SweepRun:
    return SweepRun(RunConfig(model, language_recipe(model, budget, seed), LANGUAGE), sweep, budget)
