"""The book's sweeps: each a function that returns its runs. ``moelaws sweep NAME`` runs one."""

from dataclasses import dataclass, replace

from moelaws.config import ModelConfig, RunConfig
from moelaws.counting import tokens_for_budget
from moelaws.training.recipe import batch_sequences, recipe, tiny_model
from moelaws.training.sweep import SweepRun


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


def _isoflop_at(budget: float) -> list[SweepRun]:
    """One budget of the study: every width at every E once, and the replicated widths with more seeds."""
    design = STUDY[budget]
    runs = []
    for n_experts in design.n_experts:
        for width in design.widths:
            seeds = design.seeds if width in design.replicated else 1
            model = tiny_model(width, n_experts)
            runs += [_isoflop("isoflop", budget, model, seed, TWO_DOMAINS) for seed in range(seeds)]
    return runs


@dataclass(frozen=True)
class _Design:
    """What a budget of the study holds.

    Attributes:
        widths: d, so placed that the best lies inside at every E.
        replicated: the widths near the best, which are run with several seeds.
        seeds: how many.
        n_experts: E.
    """

    widths: tuple[int, ...]
    replicated: tuple[int, ...]
    seeds: int
    n_experts: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)


TWO_DOMAINS = "sotu+docstrings"
"""Ten million tokens: no run of the study reads them twice."""

STUDY = {
    1e11: _Design((8, 12, 16, 20, 24, 32, 40), (16,), 4),
    3e11: _Design((12, 16, 20, 24, 32, 40, 48), (24,), 4),
    1e12: _Design((16, 24, 32, 40, 48, 64), (32, 40), 3),
    3e12: _Design((24, 32, 40, 48, 64, 80), (48,), 3),
    1e13: _Design((40, 48, 64, 80, 96), (), 1, (1, 4, 16, 64)),
}


def _isoflop(sweep: str, budget: float, model: ModelConfig, seed: int, corpus: str = "sotu") -> SweepRun:
    train = recipe(model, budget, tokens_for_budget(model, budget), seed)
    return SweepRun(RunConfig(model, train, corpus), sweep, budget)
