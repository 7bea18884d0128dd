"""The book's recipe: which tiny model a width makes, and which learning rate and batch it is trained with."""

from moelaws.config import ModelConfig, TrainConfig


def tiny_model(d_model: int, n_experts: int = 1, top_k: int = 1, granularity: int = 1, vocab_size: int = 1024,
               context: int = 128) -> ModelConfig:  # fmt: skip
    """The book's family: two layers, d_ff = 4 d (as in Eq. 9 of Abnar et al. 2025), heads of width 16 or 8.

    Args:
        d_model: width, a multiple of 8.
        n_experts: E.
        top_k: K.
        granularity: G.
        vocab_size: of the corpus.
        context: training sequence length.

    Returns:
        The architecture.
    """
    head = 16 if d_model % 16 == 0 else 8
    return ModelConfig(
        vocab_size=vocab_size, d_model=d_model, n_layers=2, n_heads=max(1, d_model // head), d_ff=4 * d_model,
        n_experts=n_experts, top_k=top_k, granularity=granularity, context=context,
    )  # fmt: skip


def recipe(model: ModelConfig, tokens: int, seed: int = 0) -> TrainConfig:
    """Learning rate and batch for a model of the family and a data budget.

    Args:
        model: the architecture.
        tokens: training tokens D.
        seed: of weights and data order.

    Returns:
        The training configuration.
    """
    return TrainConfig(
        tokens=tokens, batch_sequences=BATCH_SEQUENCES, learning_rate=learning_rate(model.d_model), seed=seed
    )


BATCH_SEQUENCES = 8


def learning_rate(d_model: int) -> float:
    """Peak learning rate of a width: 0.02 at d = 32, falling as d^-0.7."""
    return 0.02 * (32 / d_model) ** 0.7
