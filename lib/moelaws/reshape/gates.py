"""Learned gates: how much of which of two models, layer by layer and token by token, while the models stay frozen."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from moelaws.models import ExpertsLayer, RouterStatistics, Transformer
from moelaws.reshape.blend import blend, put_together
from moelaws.reshape.upcycle import ReshapeError
from moelaws.stages import counted


@dataclass(frozen=True)
class GateRecipe:
    """How gates are learned.

    Attributes:
        steps: optimiser steps.
        learning_rate: of the shares' logits; a cosine takes it to zero.
        router_rate: of the routers.
        balance: weight of the load-balancing loss where a token leaves experts out.
    """

    steps: int = 200
    learning_rate: float = 0.05
    router_rate: float = 0.02
    balance: float = 0.01

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ReshapeError(f"steps = {self.steps}: expected at least 1")


@dataclass(frozen=True)
class Blended:
    """What ``learn_gates`` found.

    Attributes:
        model: the mixture, ready to be saved.
        shares: of the second model in embeddings, each block, and what comes after.
        losses: cross-entropy of each step, nats per token.
    """

    model: Transformer
    shares: tuple[float, ...]
    losses: tuple[float, ...]


def learn_gates(
    one: Transformer, other: Transformer, batches: Iterable[Any], recipe: GateRecipe | None = None,
    top_k: int | None = None, seed: int = 0,
) -> Blended:  # fmt: skip
    """Blend two models, and learn how: a share a layer, and a router a layer; no weight of either model moves.

    Args:
        one, other: see ``blend``.
        batches: token ids of training text of both kinds, sequences x (context + 1); one a step.
        recipe: steps and rates.
        top_k, seed: see ``blend``.

    Returns:
        The mixture, its shares and the losses on the way.

    Raises:
        ReshapeError: the models cannot be blended; tokens that are none of theirs; too few batches; or a loss that is
            not finite.

    Example:
        >>> import torch, moelaws as ml
        >>> shape = ml.ModelConfig(vocab_size=64, d_model=16, n_heads=2, d_ff=32, context=16)
        >>> text = torch.randint(64, (3, 4, 17), generator=torch.Generator().manual_seed(0))
        >>> found = learn_gates(ml.Transformer(shape), ml.Transformer(shape, seed=1), text, GateRecipe(steps=3))
        >>> len(found.shares), len(found.losses)
        (4, 3)
    """
    recipe = recipe or GateRecipe()
    gated = _Gated(one, other, blend(one, other, 0.5, top_k, seed), recipe)
    groups = [(list(gated.logits), recipe.learning_rate), (list(gated.routers.values()), recipe.router_rate)]
    losses = descend(gated, groups, batches, recipe.steps)
    shares = tuple(float(torch.sigmoid(each.detach())) for each in gated.logits)
    return Blended(gated.folded(), shares, losses)


def descend(
    learner: nn.Module, groups: Sequence[tuple[list[nn.Parameter], float]], batches: Iterable[Any], steps: int
) -> tuple[float, ...]:
    """Follow a module's ``objective`` down: Adam, each group at its rate, a cosine to zero.

    Args:
        learner: has ``objective(windows)``, which returns what is made small and the cross-entropy, and ``vocabulary``.
        groups: parameters and their rate.
        batches: token ids, one batch a step.
        steps: how many.

    Returns:
        The cross-entropy of each step.

    Raises:
        ReshapeError: tokens that are none, too few batches, or a loss that is not finite.
    """
    optimiser = torch.optim.Adam([{"params": each, "lr": rate} for each, rate in groups])
    rates = [rate for _, rate in groups]
    losses: list[float] = []
    for windows in _checked(islice(batches, steps), cast(int, learner.vocabulary), steps):
        objective, loss = cast(Any, learner).objective(windows)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise ReshapeError(f"step {len(losses)} of {steps}: the loss is {losses[-1]}; take smaller rates")
        optimiser.zero_grad(set_to_none=True)
        objective.backward()
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * len(losses) / (steps + 1)))
        optimiser.step()
    if len(losses) < steps:
        raise ReshapeError(f"batches: {len(losses)} of them; expected {steps}, one a step")
    return tuple(losses)


def _checked(batches: Iterable[Any], vocabulary: int, steps: int) -> Iterator[Tensor]:
    for batch in counted(batches, "learning the gates", steps):
        windows = torch.as_tensor(batch)
        lowest, highest = int(windows.min()), int(windows.max())
        if lowest < 0 or highest >= vocabulary:
            raise ReshapeError(
                f"the text has tokens {lowest} to {highest}; expected a text in the tokens of the models, 0 to "
                f"{vocabulary - 1}"
            )
        yield windows


class _Loss(nn.Module):
    """A model as a module whose forward pass is its loss: what ``functional_call`` can call."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, list[RouterStatistics]]:
        return self.model.loss(ids_BT, targets_BT)


class _Gated(nn.Module):
    """Two frozen models and what is learned: a logit a place, a router a layer."""

    def __init__(self, one: Transformer, other: Transformer, mixture: Transformer, recipe: GateRecipe) -> None:
        super().__init__()
        self._models = one, other
        self._loss = _Loss(mixture.requires_grad_(False))
        self._balance = recipe.balance if mixture.config.top_k < mixture.config.n_experts else 0.0
        self.logits = nn.ParameterList(nn.Parameter(torch.zeros(())) for _ in range(mixture.config.n_layers + 2))
        self.routers = {
            f"blocks.{layer}.experts.router": nn.Parameter(cast(ExpertsLayer, block.experts).router.detach().clone())
            for layer, block in enumerate(mixture.blocks)
        }
        self.vocabulary = mixture.config.vocab_size

    def weights(self) -> dict[str, Tensor]:
        shares = [torch.sigmoid(each) for each in self.logits]
        return put_together(*self._models, self._loss.model, shares) | self.routers

    def objective(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        weights = {f"model.{name}": each for name, each in self.weights().items()}
        loss, routers = functional_call(self._loss, weights, (windows[:, :-1], windows[:, 1:]))
        balance = torch.stack([router.load_balance for router in routers]).mean()
        return loss + self._balance * balance, loss

    @torch.no_grad()
    def folded(self) -> Transformer:
        """The mixture with the weights that the gates make."""
        weights = self.weights()
        for name, parameter in self._loss.model.named_parameters():
            parameter.copy_(weights[name])
        return self._loss.model.requires_grad_(True)
