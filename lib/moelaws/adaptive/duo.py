"""A transformer whose every layer has a big and a small feed-forward network, of which a token takes one, or neither.

Shape suffixes: B sequences, T time, L layers, D model width, C = 2 networks: small, big; V vocabulary.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moelaws.config import ConfigError, ModelConfig
from moelaws.counting import forward_flops_per_token
from moelaws.models.attention import Attention, rotary_table
from moelaws.models.experts import FeedForward
from moelaws.models.loss import cross_entropy, token_losses
from moelaws.models.norm import RMSNorm

SKIP, SMALL, BIG = 0, 1, 2
"""What a token can take in a layer."""


@dataclass(frozen=True)
class DuoConfig:
    """The shape of a model with two feed-forward networks a layer.

    Attributes:
        model: of the dense model whose feed-forward layers are the big ones.
        small: hidden width of the small ones; Alizadeh et al. 2024 take a sixteenth of the big ones'.

    Raises:
        ConfigError: a mixture, or a small network that is not smaller.
    """

    model: ModelConfig
    small: int

    def __post_init__(self) -> None:
        if self.model.is_moe:
            raise ConfigError(f"n_experts = {self.model.n_experts}: expected 1; the two networks are the choice")
        if not 1 <= self.small < self.model.d_ff:
            raise ConfigError(f"small = {self.small}: expected 1 to {self.model.d_ff - 1}, less than d_ff")

    @property
    def ratio(self) -> float:
        """Cost of a small network over that of a big one."""
        return self.small / self.model.d_ff

    def cost(self, route: tuple[int, ...]) -> float:
        """What a route costs, in big networks."""
        return sum((0.0, self.ratio, 1.0)[choice] for choice in route)

    def flops_per_token(self, cost: float) -> float:
        """FLOPs of a forward pass with so many big networks' worth of feed-forward a token; routers left out."""
        big = 2 * 3 * self.model.d_model * self.model.d_ff
        return forward_flops_per_token(self.model) + (cost - self.model.n_layers) * big


class Chooser(Protocol):
    """Says how much of which network a token takes."""

    def __call__(self, layer: int, x_BTD: Tensor) -> Tensor:
        """Weights of the small and the big network, broadcastable to B x T x C; zeros to skip both."""


class DuoBlock(nn.Module):
    """Attention, then the big network, the small one, or neither."""

    def __init__(self, config: DuoConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.model.d_model)
        self.attention = Attention(config.model)
        self.networks_norm = RMSNorm(config.model.d_model)
        self.small = FeedForward(config.model.d_model, config.small)
        self.big = FeedForward(config.model.d_model, config.model.d_ff)

    def attended(self, x_BTD: Tensor, turn_TJ: Tensor) -> tuple[Tensor, Tensor]:
        """The stream after attention, and the normalised copy that networks and choosers see."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), turn_TJ)
        return x_BTD, self.networks_norm(x_BTD)

    def added(self, seen_BTD: Tensor, weights: Tensor) -> Tensor | float:
        """What the networks add; one that nobody takes is not computed."""
        out: Tensor | float = 0.0
        for place, network in enumerate((self.small, self.big)):
            weight = weights[..., place : place + 1]
            if weight.requires_grad or bool(weight.any()):
                out = out + weight * network(seen_BTD.flatten(0, 1))[0].view_as(seen_BTD)
        return out


class DuoTransformer(nn.Module):
    """A language model with two feed-forward networks a layer (Alizadeh-Vahid et al. 2024, Duo-LLM).

    Args:
        config: the shape.
        seed: draws the weights.

    Attributes:
        chooser: who chooses where nobody is named; at first a third each, by lot, for each sequence and layer, as in
            training. A draw has a seed of its own.

    Example:
        >>> import moelaws as ml
        >>> dense = ml.ModelConfig(vocab_size=64, d_model=16, n_layers=3, n_heads=2, d_ff=32, context=16)
        >>> model = DuoTransformer(DuoConfig(dense, small=4))
        >>> ids = torch.arange(16)[None]
        >>> tuple(model(ids, fixed((BIG, SKIP, SMALL))).shape)
        (1, 16, 64)
    """

    _turns: Tensor

    def __init__(self, config: DuoConfig, seed: int = 0) -> None:
        super().__init__()
        model = config.model
        self.duo, self.config = config, model
        self.embedding = nn.Parameter(torch.empty(model.vocab_size, model.d_model))
        self.blocks = nn.ModuleList(DuoBlock(config) for _ in range(model.n_layers))
        self.final_norm = RMSNorm(model.d_model)
        self.register_buffer("_turns", rotary_table(model, torch.arange(model.context)), persistent=False)
        self.chooser: Chooser = by_lot(seed)
        self._initialise(torch.Generator().manual_seed(seed))

    def features(self, ids_BT: Tensor, chooser: Chooser | None = None) -> Tensor:
        """The normalised stream after the last layer, B x T x D."""
        chooser = chooser or self.chooser
        x_BTD, turn_TJ = F.embedding(ids_BT, self.embedding), self._turns[: ids_BT.shape[1]]
        for layer, block in enumerate(self.layers):
            x_BTD, seen_BTD = block.attended(x_BTD, turn_TJ)
            x_BTD = x_BTD + block.added(seen_BTD, chooser(layer, seen_BTD))
        return self.final_norm(x_BTD)

    def forward(self, ids_BT: Tensor, chooser: Chooser | None = None) -> Tensor:
        """Logits of the next token, B x T x V."""
        return self.features(ids_BT, chooser) @ self.embedding.t()

    def loss(self, ids_BT: Tensor, targets_BT: Tensor, chooser: Chooser | None = None) -> tuple[Tensor, list[Any]]:
        """Mean cross-entropy in nats, and no router statistics: what ``train_on`` needs."""
        x_BTD = self.features(ids_BT, chooser)
        return cross_entropy(x_BTD.flatten(0, 1), self.embedding, targets_BT.flatten()), []

    @torch.no_grad()
    def token_losses(self, ids_BT: Tensor, targets_BT: Tensor, chooser: Chooser | None = None) -> Tensor:
        """Cross-entropy of each next token, B x T."""
        return self.losses_of(self.features(ids_BT, chooser), targets_BT)

    def losses_of(self, x_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        """Cross-entropy of each next token from the normalised stream, B x T."""
        return token_losses(x_BTD.flatten(0, 1), self.embedding, targets_BT.flatten()).view(targets_BT.shape)

    @property
    def layers(self) -> list[DuoBlock]:
        """The blocks."""
        return [cast(DuoBlock, block) for block in self.blocks]

    def turns(self, end: int) -> Tensor:
        """Rotations of the first positions, T x J."""
        return self._turns[:end]

    def _initialise(self, generator: torch.Generator) -> None:
        """As ``Transformer`` does."""
        depth = math.sqrt(2 * self.config.n_layers)
        scales = {"w_out": 1 / depth, "embedding": 2.0}
        for name, parameter in self.named_parameters():
            kind = name.rpartition(".")[2]
            if kind != "gain":
                std = scales.get(kind, 1.0) / math.sqrt(parameter.shape[1])
                nn.init.normal_(parameter, std=std, generator=generator)


_WEIGHTS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # of small and big, for skip, small, big


def fixed(route: tuple[int, ...]) -> Chooser:
    """One choice a layer, the same for every token."""
    return lambda layer, x_BTD: _WEIGHTS[route[layer]]


def by_lot(seed: int = 0, shares: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3), tokens: bool = False) -> Chooser:
    """A draw for each sequence and layer, or for each token.

    Args:
        seed: of the draws, which go on from call to call.
        shares: how often each of skip, small and big is drawn.
        tokens: whether each token draws for itself.
    """
    generator, odds = torch.Generator().manual_seed(seed), torch.tensor(shares)

    def draw(layer: int, x_BTD: Tensor) -> Tensor:
        sequences, time, _ = x_BTD.shape
        count = sequences * (time if tokens else 1)
        drawn = torch.multinomial(odds, count, replacement=True, generator=generator)
        return _WEIGHTS[drawn].view(sequences, time if tokens else 1, 2)

    return draw
