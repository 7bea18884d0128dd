"""Training a model that exists: any weights, any batches, the recipe's schedule from its beginning."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch

from moelaws.config import ConfigError, TrainConfig
from moelaws.models import Transformer
from moelaws.stages import counted
from moelaws.training.step import TrainingStep
from moelaws.training.train import learning_rate_at


def train_on(model: Transformer, recipe: TrainConfig, batches: Iterable[Any]) -> tuple[float, ...]:
    """Train a model in place, from the weights that it has.

    ``train`` is for runs that a row can name: random weights, or copies of a dense model's. This is for all else: a
    model tuned on other text, or one that was blended.

    Args:
        model: changed in place.
        recipe: rates, schedule and losses; ``tokens`` says how many steps, in batches of ``batch_sequences``. Its seed
            draws nothing here.
        batches: token ids, sequences x (context + 1), one a step.

    Returns:
        Cross-entropy of each step, nats per token.

    Raises:
        ConfigError: too few batches.
        FloatingPointError: the loss is not finite any more.

    Example:
        >>> import torch, moelaws as ml
        >>> model = ml.Transformer(ml.ModelConfig(vocab_size=64, d_model=16, n_heads=2, d_ff=32, context=16))
        >>> text = torch.randint(64, (3, 4, 17), generator=torch.Generator().manual_seed(0))
        >>> len(train_on(model, ml.TrainConfig(tokens=192, batch_sequences=4), text))
        3
    """
    steps = max(1, round(recipe.tokens / (recipe.batch_sequences * model.config.context)))
    take_step = TrainingStep(model, recipe)
    losses: list[float] = []
    for batch in counted(islice(batches, steps), "training", steps):
        loss, norm = take_step(torch.as_tensor(batch), learning_rate_at(len(losses), steps, recipe))
        if loss != loss or norm != norm:  # NaN
            raise FloatingPointError(
                f"step {len(losses) + 1} of {steps}: the loss is {loss}, its gradient's norm {norm}"
            )
        losses.append(loss)
    if len(losses) < steps:
        raise ConfigError(f"batches: {len(losses)} of them; expected {steps} for tokens = {recipe.tokens}")
    return tuple(losses)
