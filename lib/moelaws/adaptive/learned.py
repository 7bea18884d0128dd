"""Routers that learn, without the answers, how much of a layer a token needs; and hold a budget.

Shape suffixes: B sequences, T time, D model width.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from moelaws.adaptive.duo import DuoTransformer
from moelaws.config import ConfigError
from moelaws.stages import counted


@dataclass(frozen=True)
class RouterRecipe:
    """How routers are learned.

    Attributes:
        steps: optimiser steps.
        learning_rate: of Adam; a cosine takes it to zero.
        temperature: of the soft choice in training.
        hold: weight of the squared distance of the mean cost a layer from the budget.
    """

    steps: int = 150
    learning_rate: float = 0.02
    temperature: float = 1.0
    hold: float = 10.0


class Routers(nn.Module):
    """A linear router a layer: skip, small or big, by what the networks would see.

    Attributes:
        weight: L x 3 x D.
        bias: L x 3.
        price: added to a choice's logit for each big network that it costs; a negative one is a tax. Set by
            ``keep_to``, so that hard choices cost what they may.
    """

    def __init__(self, model: DuoTransformer) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(len(model.layers), 3, model.config.d_model))
        self.bias = nn.Parameter(torch.zeros(len(model.layers), 3))
        self.costs = torch.tensor([0.0, model.duo.ratio, 1.0])
        self.price = 0.0

    def logits(self, layer: int, x_BTD: Tensor) -> Tensor:
        """Of skip, small and big, B x T x 3."""
        return x_BTD @ self.weight[layer].t() + self.bias[layer]

    def forward(self, layer: int, x_BTD: Tensor) -> Tensor:
        """The hard choice: weights of small and big, B x T x 2."""
        best_BT = (self.logits(layer, x_BTD) + self.price * self.costs).argmax(-1)
        return nn.functional.one_hot(best_BT, 3)[..., 1:].to(x_BTD.dtype)


def learn_routers(
    model: DuoTransformer, batches: Iterable[Any], budget: float, recipe: RouterRecipe | None = None
) -> Routers:
    """Learn routers of a finished model, whose weights stay as they are.

    In training a token takes a soft mixture of the networks; the loss is the cross-entropy and the squared distance of
    the mean cost from the budget, over all layers together (Alizadeh-Vahid et al. 2024, Sec. 4, second-hand).

    Args:
        model: the model.
        batches: token ids, sequences x (context + 1), one a step.
        budget: big networks a token, in all layers together.
        recipe: steps and rates.

    Raises:
        ConfigError: a budget that cannot be, or too few batches.

    Example:
        >>> import moelaws as ml
        >>> dense = ml.ModelConfig(vocab_size=64, d_model=16, n_layers=3, n_heads=2, d_ff=32, context=16)
        >>> model = ml.DuoTransformer(ml.DuoConfig(dense, small=4))
        >>> text = torch.randint(64, (5, 4, 17), generator=torch.Generator().manual_seed(0))
        >>> routers = learn_routers(model, text, budget=1.5, recipe=RouterRecipe(steps=5))
        >>> keep_to(model, routers, text[0], 1.5)
        >>> hard_cost(model, routers, text[0]) <= 1.5
        True
    """
    recipe = recipe or RouterRecipe()
    layers = len(model.layers)
    if not 0 < budget < layers:
        raise ConfigError(f"budget = {budget:g}: expected more than 0 and less than {layers} big networks a token")
    routers = Routers(model)
    before = [parameter.requires_grad for parameter in model.parameters()]
    model.requires_grad_(False)
    optimiser = torch.optim.Adam(routers.parameters(), lr=recipe.learning_rate)
    done = 0
    try:
        for batch in counted(islice(batches, recipe.steps), "learning the routers", recipe.steps):
            windows = torch.as_tensor(batch)
            spent: list[Tensor] = []

            def soft(layer: int, x_BTD: Tensor, spent: list[Tensor] = spent) -> Tensor:
                probs = torch.softmax(routers.logits(layer, x_BTD) / recipe.temperature, -1)
                spent.append((probs @ routers.costs).mean())
                return probs[..., 1:]

            loss = model.loss(windows[:, :-1], windows[:, 1:], soft)[0]
            away = torch.stack(spent).mean() - budget / layers
            optimiser.zero_grad(set_to_none=True)
            (loss + recipe.hold * away.square()).backward()
            done += 1
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done / (recipe.steps + 1)))
            optimiser.step()
    finally:
        for parameter, needed in zip(model.parameters(), before, strict=True):
            parameter.requires_grad_(needed)
    if done < recipe.steps:
        raise ConfigError(f"batches: {done} of them; expected {recipe.steps}, one a step")
    return routers


@torch.no_grad()
def keep_to(model: DuoTransformer, routers: Routers, windows: Tensor, budget: float) -> None:
    """Set the routers' price so that hard choices cost the budget on a text: training text, not what is measured.

    Args:
        windows: token ids, sequences x (context + 1).
        budget: big networks a token.
    """
    low, high = -20.0, 20.0
    for _ in range(24):
        routers.price = (low + high) / 2
        if hard_cost(model, routers, windows) > budget:
            high = routers.price
        else:
            low = routers.price
    routers.price = low


@torch.no_grad()
def hard_cost(model: DuoTransformer, chooser: Any, windows: Tensor) -> float:
    """Mean cost of a token on a text, in big networks."""
    return float(taken(model, chooser, windows) @ torch.tensor([model.duo.ratio, 1.0]))


@torch.no_grad()
def taken(model: DuoTransformer, chooser: Any, windows: Tensor) -> Tensor:
    """How many small and how many big networks a token takes, mean over a text."""
    return choices_made(model, chooser, windows).sum(0).mean((0, 1))


@torch.no_grad()
def choices_made(model: DuoTransformer, chooser: Any, windows: Tensor) -> Tensor:
    """The weights that a chooser gave, L x B x T x 2."""
    found: list[Tensor] = []

    def watched(layer: int, x_BTD: Tensor) -> Tensor:
        weights: Tensor = chooser(layer, x_BTD)
        found.append(weights.expand(*x_BTD.shape[:2], 2))
        return weights

    model.features(windows[:, :-1], watched)
    return torch.stack(found)
