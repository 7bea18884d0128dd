"""The book's sweeps on program text: a larger budget, repeated text, and the recipe across sparsities."""

from collections.abc import Mapping
from dataclasses import replace

from howmany.designs.isoflop_design import PROGRAM_DESIGNS, PROGRAM_SEEDS, PROGRAMS, REPEATS, TUNING
from howmany.designs.sweeps import finer_1e12, isoflop_1e12, isoflop_1e13, largest
from moelaws.config import ModelConfig, RunConfig
from moelaws.counting import tokens_for_budget
from moelaws.sweeping.sweep import SweepRun
from moelaws.training.recipe import batch_sequences, recipe, run_at, tiny_model

PACKAGES = "packages"
"""Seventy-seven million tokens: no run reads them twice, unless it is meant to."""


def packages() -> list[SweepRun]:
    """The study on a larger text, up to 1e15 FLOPs: dense, and three sparsities with K = G = 1 and K = G = 2."""
    return [run for budget in PROGRAMS for run in _packages_at(budget)]


def packages_1e12() -> list[SweepRun]:
    """The runs of ``packages`` at 1e12 FLOPs."""
    return _packages_at(1e12)


def packages_1e13() -> list[SweepRun]:
    """The runs of ``packages`` at 1e13 FLOPs."""
    return _packages_at(1e13)


def packages_1e14() -> list[SweepRun]:
    """The runs of ``packages`` at 1e14 FLOPs, which the laws foretell before they are made."""
    return _packages_at(1e14)


def packages_1e15() -> list[SweepRun]:
    """The runs of ``packages`` at 1e15 FLOPs: a GPU's."""
    return _packages_at(1e15)


def other_device() -> list[SweepRun]:
    """Runs of the study again, for another device than its own: do its numbers agree?

    Two dozen at its largest budget and the seeds and checks beside them, finer experts at 1e12 FLOPs, and some widths
    of the study there.
    """
    narrow = [run for run in isoflop_1e12() if run.run.model.d_model == 32 and run.run.model.n_experts in (1, 8, 64)]
    every = [*narrow, *isoflop_1e13(), *largest(), *finer_1e12()]
    return [replace(item, sweep="other_device") for item in every]


def packages_seeds() -> list[SweepRun]:
    """Two more seeds of one width at each of three budgets: what of a difference is noise."""
    return [
        _at("packages", budget, tiny_model(width, *experts), seed)
        for budget, width in PROGRAM_SEEDS.items()
        for experts, widths in PROGRAMS[budget].items()
        if width in widths
        for seed in (1, 2)
    ]


def designs() -> list[SweepRun]:
    """What ``packages`` leaves out at three budgets: other (K, G), and S = 127/128.

    The rule of ``finer`` holds for them too: if L* at K = G = 2 falls up to S = 127/128 at two budgets or more, the
    word "contradicted" is withdrawn for the claims that the loss falls with sparsity and that the sparsest is best.
    """
    return [run for budget in PROGRAM_DESIGNS for run in _designs_at(budget)]


def designs_1e12() -> list[SweepRun]:
    """The runs of ``designs`` at 1e12 FLOPs."""
    return _designs_at(1e12)


def designs_1e13() -> list[SweepRun]:
    """The runs of ``designs`` at 1e13 FLOPs."""
    return _designs_at(1e13)


def designs_1e14() -> list[SweepRun]:
    """The runs of ``designs`` at 1e14 FLOPs."""
    return _designs_at(1e14)


def repeats() -> list[SweepRun]:
    """Do experts overfit sooner? The same FLOPs on parts of the text that are read once to sixteen times."""
    return [
        _repeated(tiny_model(REPEATS.width, n_experts), epochs, seed)
        for n_experts in REPEATS.n_experts
        for epochs in REPEATS.epochs
        for seed in range(REPEATS.seeds)
    ]


def tuning() -> list[SweepRun]:
    """Do the best learning rate and batch hang on sparsity? Both varied at four activation ratios, two budgets."""
    runs = []
    for budget, width in TUNING.widths.items():
        for n_experts in TUNING.n_experts:
            base = _at("tuning", budget, tiny_model(width, n_experts))
            train = base.run.train
            for batch in TUNING.batches:
                for rate in TUNING.rates:
                    changed = replace(
                        train,
                        batch_sequences=round(batch * train.batch_sequences),
                        learning_rate=rate * train.learning_rate,
                    )
                    runs.append(replace(base, run=replace(base.run, train=changed)))
    return runs


def _packages_at(budget: float) -> list[SweepRun]:
    """One budget of ``packages``: each (E, K, G) at its widths, one seed."""
    return _each("packages", budget, PROGRAMS[budget])


def _designs_at(budget: float) -> list[SweepRun]:
    """What ``packages`` leaves out at one budget."""
    return _each("designs", budget, PROGRAM_DESIGNS[budget])


def _each(sweep: str, budget: float, widths: Mapping[tuple[int, int, int], tuple[int, ...]]) -> list[SweepRun]:
    """Each (E, K, G) at its widths, one seed."""
    return [
        _at(sweep, budget, tiny_model(width, n_experts, top_k, granularity))
        for (n_experts, top_k, granularity), at in widths.items()
        for width in at
    ]


def _repeated(model: ModelConfig, epochs: int, seed: int) -> SweepRun:
    """A run whose steps are a whole number of times its text."""
    budget, longest = REPEATS.budget, max(REPEATS.epochs)
    batch = batch_sequences(budget) * model.context
    tokens = round(tokens_for_budget(model, budget) / (batch * longest)) * batch * longest
    corpus = f"{PACKAGES}:tokens={tokens // epochs + 1}"  # the last token is only predicted
    return SweepRun(RunConfig(model, recipe(model, budget, tokens, seed), corpus), "repeats", budget)


def _at(sweep: str, budget: float, model: ModelConfig, seed: int = 0) -> SweepRun:
    return SweepRun(run_at(budget, model, seed, PACKAGES), sweep, budget)
