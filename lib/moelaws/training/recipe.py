"""The book's recipe: which tiny model a width makes, and which learning rate and batch it is trained with."""

import math
from dataclasses import replace

from moelaws.config import ConfigError, ModelConfig, RunConfig, TrainConfig
from moelaws.counting import tokens_for_budget

_WIDEST = 1_000_000


def tiny_model(d_model: int, n_experts: int = 1, top_k: int = 1, granularity: int = 1, vocab_size: int = 1024,
               context: int = 128) -> ModelConfig:  # fmt: skip
    """The book's family: two layers, d_ff = 4 d (as in Eq. 9 of Abnar et al. 2025), heads about 16 wide.

    Args:
        d_model: width, a multiple of 8.
        n_experts: E.
        top_k: K.
        granularity: G.
        vocab_size: of the corpus.
        context: training sequence length.

    Returns:
        The architecture.

    Raises:
        ConfigError: a width that no heads divide, or a model that cannot be.

    Examples:
        >>> model = tiny_model(64, n_experts=8)
        >>> model.d_ff, model.n_heads
        (256, 4)
    """
    if not 2 <= d_model <= _WIDEST or d_model % 2:
        raise ConfigError(f"d_model = {d_model}: expected an even number from 2 to {_WIDEST}")
    # Narrower heads would spend the step on attention: its cost is one exponential a head and pair of tokens.
    head = min((w for w in range(2, d_model + 1, 2) if d_model % w == 0), key=lambda width: abs(width - 16))
    return ModelConfig(
        vocab_size=vocab_size, d_model=d_model, n_layers=2, n_heads=d_model // head, d_ff=4 * d_model,
        n_experts=n_experts, top_k=top_k, granularity=granularity, context=context,
    )  # fmt: skip


def recipe(model: ModelConfig, train_flops: float, tokens: int, seed: int = 0) -> TrainConfig:
    """How a model of the family is trained at a budget: the same for every number of experts.

    The learning rate and the batch are those of the sweeps ``learning_rates`` and ``batches``; the other rates were
    chosen on trial runs of E = 1 and E = 16 at d = 32 and 48.

    Args:
        model: the architecture.
        train_flops: the budget C, which sets the batch.
        tokens: training tokens D.
        seed: of weights and data order.

    Returns:
        The training configuration.

    Examples:
        >>> chosen = recipe(tiny_model(64, n_experts=8), 1e12, 262_144)
        >>> chosen.tokens, chosen.seed
        (262144, 0)
    """
    sequences = batch_sequences(train_flops)
    return TrainConfig(
        tokens=tokens,
        batch_sequences=sequences,
        learning_rate=learning_rate(model.n_experts, tokens / (sequences * model.context)),
        embedding_lr_factor=3.0,
        router_lr_factor=0.3,
        beta2=0.99,
        seed=seed,
    )


def run_at(budget: float, model: ModelConfig, seed: int, corpus: str) -> RunConfig:
    """The run of a model of the family that spends a budget.

    Args:
        budget: training FLOPs C.
        model: the architecture.
        seed: of weights and data order.
        corpus: what it reads.
    """
    return RunConfig(model, recipe(model, budget, tokens_for_budget(model, budget), seed), corpus)


def learning_rate(n_experts: int, steps: float) -> float:
    """Peak learning rate: the longer a run the lower, and lower with experts up to eight of them.

    The same at every width and budget. A mixture of eight or more wants 0.79 of what a dense model wants. Evidence:
    the sweep ``learning_rates``, with 700 to 2,900 steps, d = 24 to 64, budgets of 1e11 to 3e12 FLOPs.

    Args:
        n_experts: E.
        steps: optimiser steps of the run.
    """
    return 0.0108 * (1500 / steps) ** 0.3 * min(n_experts, 8) ** -0.115


def batch_sequences(train_flops: float) -> int:
    """Sequences in a batch at a budget: the power of two nearest to 4 sqrt(C / 3e11), the same for all sizes.

    One batch for a whole isoFLOP group: a batch that changed between its sizes would put steps into its curve.
    """
    return 2 ** max(0, round(math.log2(4 * math.sqrt(train_flops / 3e11))))


def language_model(d_model: int, n_experts: int = 1) -> ModelConfig:
    """The family for the synthetic language: one layer, 32 tokens of context, the previous token at the input.

    Without the token shift a model first has to learn what "previous" means, and sits at the entropy given one word
    until it does.

    Args:
        d_model: width, a multiple of 8.
        n_experts: E, with K = 1.
    """
    return replace(tiny_model(d_model, n_experts, vocab_size=128, context=32), n_layers=1, token_shift=True)


def language_recipe(model: ModelConfig, train_flops: float, seed: int = 0) -> TrainConfig:
    """How a model of the language's family spends a budget; trial runs at 1.2e10, 1.08e11 and 9.7e11 FLOPs chose it.

    Args:
        model: the architecture.
        train_flops: the budget C.
        seed: of weights and data order.
    """
    tokens = tokens_for_budget(model, train_flops)
    sequences = round(16 * math.sqrt(train_flops / 1.08e11))
    return replace(
        recipe(model, train_flops, tokens, seed),
        batch_sequences=sequences,
        learning_rate=learning_rate(model.n_experts, tokens / (sequences * model.context)),
    )
