"""Sweeps for the chapters on neighbouring papers. ``moelaws sweep NAME`` runs one."""

from dataclasses import replace

from howmany.designs.isoflop_design import COMPOSITION, SHAPES, UPCYCLING
from howmany.designs.sweeps import TWO_DOMAINS
from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.sweeping.sweep import SweepRun
from moelaws.training.recipe import learning_rate, recipe, run_at, tiny_model


def upcycling() -> list[SweepRun]:
    """A mixture grown from dense models: D1 tokens dense x D2 tokens after, beside all that one could do instead.

    The other arms: the dense models alone, each going on dense for the same D2 tokens with the same restart, and the
    mixture from random weights. Two seeds. One batch for all, so that D1 and D2 are whole numbers of steps.
    """
    return [run for seed in (0, 1) for run in _upcycling(seed)]


def composition() -> list[SweepRun]:
    """One layer cut into ever finer experts, a part of them shared: total and active parameters stay as they are.

    Zhao et al. 2025: the best number of active experts is about seven, and a third of them shared. K active experts of
    8 K, each 1 / K of the dense layer wide; a share of the K goes to all tokens. Two budgets, three seeds.
    """
    return [
        _at("composition", budget, _composed(width, active, share), seed)
        for budget, width in COMPOSITION.widths.items()
        for active in COMPOSITION.active
        for share in COMPOSITION.shares
        if (active * share).is_integer()
        for seed in range(COMPOSITION.seeds)
    ]


def shapes() -> list[SweepRun]:
    """Depth, heads and feed-forward width at two widths: do configurations rank alike (Wan et al. 2026)?

    One budget; a second seed at each width says how well a ranking is known.
    """
    return [
        _at("shapes", SHAPES.budget, _shaped(width, layers, channels, ratio), seed)
        for width in SHAPES.widths
        for layers in SHAPES.layers
        for channels in SHAPES.head_channels
        for ratio in SHAPES.feed_forward
        for seed in (0, 1)
    ]


def _composed(width: int, active: int, share: float) -> ModelConfig:
    shared = round(active * share)
    model = tiny_model(width, COMPOSITION.ratio * active - shared, active - shared, active)
    return replace(model, shared_experts=shared)


def _shaped(width: int, layers: int, channels: int, ratio: int) -> ModelConfig:
    model = tiny_model(width, SHAPES.n_experts)
    return replace(model, n_layers=layers, n_heads=width // channels, d_ff=ratio * width)


def _at(sweep: str, budget: float, model: ModelConfig, seed: int) -> SweepRun:
    return SweepRun(run_at(budget, model, seed, TWO_DOMAINS), sweep, budget)


def _upcycling(seed: int) -> list[SweepRun]:
    design = UPCYCLING
    dense = tiny_model(design.width)
    mixture = replace(dense, n_experts=design.n_experts, top_k=design.top_k, renormalize_top_k=True)
    base = replace(recipe(dense, 1e12, 1, seed), batch_sequences=design.sequences)

    def rate(tokens: int, n_experts: int) -> float:
        return learning_rate(n_experts, tokens / (design.sequences * dense.context))

    def fresh(model_experts: int, tokens: int) -> TrainConfig:
        return replace(base, tokens=tokens, learning_rate=rate(tokens, model_experts))

    def grown(before: int, after: int, noise: float = 0.0) -> TrainConfig:
        # A restart at the rate of a run that begins would unlearn what the dense model knows.
        again = design.restart * rate(before + after, 1)
        return replace(
            base, tokens=after, learning_rate=again, dense_tokens=before, dense_learning_rate=rate(before, 1),
            copy_noise=noise,
        )  # fmt: skip

    runs = [(dense, fresh(1, tokens)) for tokens in design.before]
    runs += [(mixture, fresh(design.n_experts, tokens)) for tokens in (*design.after, *design.scratch)]
    for before in design.before:
        for after in design.after:
            runs += [(dense, grown(before, after)), (mixture, grown(before, after))]
    runs += [(mixture, grown(design.before[1], after, design.noise)) for after in design.after[:2]]
    return [SweepRun(RunConfig(model, train, TWO_DOMAINS), "upcycling") for model, train in runs]
