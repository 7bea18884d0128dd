"""The decoder-only transformer of the OLMoE family, small enough to train in seconds.

Shape suffixes: B sequences, T time, D model width, J = D / 2 pairs of channels, V vocabulary; R = B T rows.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moelaws.available_memory import require_memory
from moelaws.config import ModelConfig
from moelaws.counting import count_parameters
from moelaws.models.attention import Attention, rotary_table
from moelaws.models.experts import ExpertsLayer, FeedForward
from moelaws.models.loss import cross_entropy, token_losses
from moelaws.models.norm import RMSNorm
from moelaws.models.product import linear
from moelaws.models.router import RouterStatistics


class Block(nn.Module):
    """Attention, then experts or a dense layer, each on a normalised copy added to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model)
        self.attention = Attention(config)
        self.experts_norm = RMSNorm(config.d_model)
        self.experts = ExpertsLayer(config) if config.has_experts(layer) else FeedForward(config.d_model, config.d_ff)

    def forward(self, x_BTD: Tensor, turn_TJ: Tensor) -> tuple[Tensor, RouterStatistics | None]:
        """One block; returns the residual stream and the router's statistics."""
        x_BTD, normal_BTD = self.attention_norm.after(x_BTD)
        x_BTD, normal_BTD = self.experts_norm.after(x_BTD, self.attention(normal_BTD, turn_TJ))
        y_RD, statistics = self.experts(normal_BTD.flatten(0, 1))
        return x_BTD + y_RD.view_as(x_BTD), statistics


class TokenShift(nn.Module):
    """Adds to each token the previous one, scaled by a gain a channel (Peng et al. 2023, RWKV)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The first token of a sequence has nothing added."""
        return x_BTD + self.gain * F.pad(x_BTD[:, :-1], (0, 0, 1, 0))


class Transformer(nn.Module):
    """A tiny OLMoE-style language model; dense when ``config.n_experts == 1``.

    Args:
        config: the architecture.
        seed: draws the initial weights, independently of torch's global generator.

    Raises:
        TooLargeError: the weights do not fit the memory of this machine.

    Attributes:
        config: the architecture.
        embedding: V x D, also the unembedding when tied.
        unembedding: V x D, or ``None`` when tied.
    """

    _turns: Tensor

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        parameters = count_parameters(config).total
        require_memory(
            4 * (parameters + 2 * config.context * config.d_model), f"a model of {parameters:.3g} parameters"
        )
        self.config = config
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.d_model))
        self.shift = TokenShift(config.d_model) if config.token_shift else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.final_norm = RMSNorm(config.d_model)
        self.unembedding = (
            None if config.tied_embeddings else nn.Parameter(torch.empty(config.vocab_size, config.d_model))
        )
        self.register_buffer("_turns", rotary_table(config, torch.arange(config.context)), persistent=False)
        self._initialise(torch.Generator().manual_seed(seed))

    def forward(self, ids_BT: Tensor) -> tuple[Tensor, list[RouterStatistics]]:
        """Predict the next token at every position.

        Args:
            ids_BT: token ids.

        Returns:
            logits_BTV, and the router statistics of each layer with experts (an empty list for a dense model).
        """
        x_BTD, statistics = self.features(ids_BT)
        logits_RV = linear(x_BTD.flatten(0, 1), self.output_weight)
        return logits_RV.view(*ids_BT.shape, -1), statistics

    def loss(self, ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, list[RouterStatistics]]:
        """Mean cross-entropy of the next token, without holding all logits.

        Args:
            ids_BT: token ids.
            targets_BT: the ids that came next.

        Returns:
            The loss in nats per token (scalar), and the router statistics of each layer with experts.
        """
        x_BTD, statistics = self.features(ids_BT)
        return cross_entropy(x_BTD.flatten(0, 1), self.output_weight, targets_BT.flatten()), statistics

    @torch.no_grad()
    def token_losses(self, ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, list[RouterStatistics]]:
        """Cross-entropy of each next token in nats, B x T, and the router statistics; without gradient."""
        x_BTD, statistics = self.features(ids_BT)
        losses_R = token_losses(x_BTD.flatten(0, 1), self.output_weight, targets_BT.flatten())
        return losses_R.view(ids_BT.shape), statistics

    def balance(self, statistics: list[RouterStatistics], rate: float) -> None:
        """Move the balance biases of every layer with experts a step against the loads it returned."""
        layers = [block.experts for block in self.blocks if isinstance(block.experts, ExpertsLayer)]
        for layer, layer_statistics in zip(layers, statistics, strict=True):
            layer.balance(layer_statistics.load_E, rate)

    def features(self, ids_BT: Tensor) -> tuple[Tensor, list[RouterStatistics]]:
        """Everything before the unembedding: normalised residual stream B x T x D, and router statistics."""
        turn_TJ = self.turns(ids_BT.shape[1])
        x_BTD = F.embedding(ids_BT, self.embedding)
        if self.shift is not None:
            x_BTD = self.shift(x_BTD)
        statistics = []
        for block in self.blocks:
            x_BTD, layer_statistics = block(x_BTD, turn_TJ)
            if layer_statistics is not None:
                statistics.append(layer_statistics)
        return self.final_norm(x_BTD), statistics

    def turns(self, end: int, start: int = 0) -> Tensor:
        """Rotations of the positions from ``start`` to before ``end``: T x J."""
        if end <= len(self._turns):
            return self._turns[start:end]
        return rotary_table(self.config, torch.arange(start, end, device=self.embedding.device))

    @property
    def output_weight(self) -> Tensor:
        """The unembedding matrix, V x D."""
        return self.embedding if self.unembedding is None else self.unembedding

    def _initialise(self, generator: torch.Generator) -> None:
        """Normal weights of standard deviation ``scale / sqrt(fan-in)``.

        Projections into the residual stream are smaller by sqrt(2 layers). The router starts sharp and the
        embedding large: what a token is then decides from the first step where it goes, and stays so while the
        rest of the network moves. With scale 1 for both, experts of models this small gain little.
        """
        depth = math.sqrt(2 * self.config.n_layers)
        scales = {"w_out": 1 / depth, "router": 3.0, "embedding": 2.0}
        for name, parameter in self.named_parameters():
            kind = name.rpartition(".")[2]
            if kind == "gain":
                continue
            fan_in = parameter.shape[1]  # dimension 1 in each: out x in, V x D, E x D x 2F, E x F x D
            std = scales.get(kind, 1.0) / math.sqrt(fan_in)
            nn.init.normal_(parameter, std=std, generator=generator)
