"""The book's sweeps: each a function that returns its runs. ``moelaws sweep NAME`` runs one."""

from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.counting import tokens_for_budget
from moelaws.training.recipe import recipe, tiny_model
from moelaws.training.sweep import SweepRun


def isoflop_first() -> list[SweepRun]:
    """A first isoFLOP surface: two budgets, dense to E = 32 with K = 1, six widths; more seeds where it matters."""
    runs = []
    for budget, widths in FIRST_BUDGETS.items():
        for n_experts in (1, 2, 4, 8, 16, 32):
            for width in widths:
                runs.append(_isoflop("isoflop_first", budget, tiny_model(width, n_experts), seed=0))
        for n_experts in (1, 16):
            for seed in (1, 2, 3, 4):
                model = tiny_model(widths[2], n_experts)
                runs.append(_isoflop("isoflop_first", budget, model, seed))
    return runs


FIRST_BUDGETS = {1e11: (16, 24, 32, 40, 48), 4e11: (24, 32, 48, 64, 80)}


def _isoflop(sweep: str, budget: float, model: ModelConfig, seed: int) -> SweepRun:
    tokens = tokens_for_budget(model, budget)
    train: TrainConfig = recipe(model, tokens, seed)
    return SweepRun(RunConfig(model, train), sweep, budget)
