"""The book's sweeps: each a function that returns its runs. ``moelaws sweep NAME`` runs one."""

from moelaws.config import ModelConfig, RunConfig
from moelaws.counting import tokens_for_budget
from moelaws.training.recipe import recipe, tiny_model
from moelaws.training.sweep import SweepRun


def isoflop_first() -> list[SweepRun]:
    """A first isoFLOP surface: two budgets, dense to E = 32 with K = 1, five widths; more seeds near the optima."""
    runs = []
    for budget, widths in _FIRST_WIDTHS.items():
        for n_experts in (1, 2, 4, 8, 16, 32):
            runs += [_isoflop("isoflop_first", budget, tiny_model(width, n_experts), 0) for width in widths]
        for width in _FIRST_REPLICATED[budget]:
            for n_experts in (1, 16):
                model = tiny_model(width, n_experts)
                runs += [_isoflop("isoflop_first", budget, model, seed) for seed in (1, 2, 3)]
    return runs


_FIRST_WIDTHS = {3e11: (16, 24, 32, 40, 56), 1e12: (24, 32, 40, 56, 80)}
_FIRST_REPLICATED = {3e11: (32,), 1e12: (32, 40)}


def _isoflop(sweep: str, budget: float, model: ModelConfig, seed: int) -> SweepRun:
    train = recipe(model, budget, tokens_for_budget(model, budget), seed)
    return SweepRun(RunConfig(model, train), sweep, budget)
