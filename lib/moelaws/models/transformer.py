"""The decoder-only transformer of the OLMoE family, small enough to train in seconds.

Shape suffixes: B sequences, T time, D model width, H heads, P head width, V vocabulary; R = B T rows.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moelaws.config import ModelConfig
from moelaws.models.experts import ExpertsLayer, RouterStatistics

NORM_EPSILON = 1e-5


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a gain (Zhang & Sennrich 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return F.rms_norm(x, self.gain.shape, self.gain, NORM_EPSILON)


def rotary_table(config: ModelConfig, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary embedding (Su et al. 2021) in the half-split layout of Llama and OLMoE.

    Args:
        config: gives the head width P and the base of the frequencies.
        length: positions.

    Returns:
        Two tensors, length x P.
    """
    inverse = config.rope_theta ** (-torch.arange(0, config.head_dim, 2).float() / config.head_dim)
    angles = torch.outer(torch.arange(length).float(), inverse).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x_BHTP: Tensor, cos_TP: Tensor, sin_TP: Tensor) -> Tensor:
    """Turn each pair (i, i + P/2) of a head by its position's angle."""
    first, second = x_BHTP.chunk(2, dim=-1)
    return x_BHTP * cos_TP + torch.cat((-second, first), dim=-1) * sin_TP


class Attention(nn.Module):
    """Causal multi-head attention with rotary positions and, by default, QK-norm over the full width (OLMoE)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.w_qkv = nn.Parameter(torch.empty(3 * config.d_model, config.d_model))
        self.w_out = nn.Parameter(torch.empty(config.d_model, config.d_model))
        self.q_norm = RMSNorm(config.d_model) if config.qk_norm else None
        self.k_norm = RMSNorm(config.d_model) if config.qk_norm else None

    def forward(self, x_BTD: Tensor, cos_TP: Tensor, sin_TP: Tensor) -> Tensor:
        """Mix the time steps of each sequence, each seeing itself and its past."""
        q_BTD, k_BTD, v_BTD = F.linear(x_BTD, self.w_qkv).chunk(3, dim=-1)
        if self.q_norm is not None and self.k_norm is not None:
            q_BTD, k_BTD = self.q_norm(q_BTD), self.k_norm(k_BTD)
        q_BHTP = rotate(self._heads(q_BTD), cos_TP, sin_TP)
        k_BHTP = rotate(self._heads(k_BTD), cos_TP, sin_TP)
        y_BHTP = F.scaled_dot_product_attention(q_BHTP, k_BHTP, self._heads(v_BTD), is_causal=True)
        return F.linear(y_BHTP.transpose(1, 2).flatten(2), self.w_out)

    def _heads(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Attention, then experts, each on a normalised copy added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model)
        self.attention = Attention(config)
        self.experts_norm = RMSNorm(config.d_model)
        self.experts = ExpertsLayer(config)

    def forward(self, x_BTD: Tensor, cos_TP: Tensor, sin_TP: Tensor) -> tuple[Tensor, RouterStatistics | None]:
        """One block; returns the residual stream and the router's statistics."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), cos_TP, sin_TP)
        y_RD, statistics = self.experts(self.experts_norm(x_BTD).flatten(0, 1))
        return x_BTD + y_RD.view_as(x_BTD), statistics


class Transformer(nn.Module):
    """A tiny OLMoE-style language model; dense when ``config.n_experts == 1``.

    Args:
        config: the architecture.
        seed: draws the initial weights, independently of torch's global generator.

    Attributes:
        config: the architecture.
        embedding: V x D, also the unembedding when tied.
        unembedding: V x D, or ``None`` when tied.
    """

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.d_model))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.final_norm = RMSNorm(config.d_model)
        self.unembedding = (
            None if config.tied_embeddings else nn.Parameter(torch.empty(config.vocab_size, config.d_model))
        )
        self._initialise(torch.Generator().manual_seed(seed))

    def forward(self, ids_BT: Tensor) -> tuple[Tensor, list[RouterStatistics]]:
        """Predict the next token at every position.

        Args:
            ids_BT: token ids.

        Returns:
            logits_BTV, and the router statistics of each layer (an empty list for a dense model).
        """
        x_BTD, statistics = self.features(ids_BT)
        return F.linear(x_BTD, self.output_weight), statistics

    def features(self, ids_BT: Tensor) -> tuple[Tensor, list[RouterStatistics]]:
        """Everything before the unembedding: normalised residual stream B x T x D, and router statistics."""
        cos_TP, sin_TP = (t.to(self.embedding.device) for t in rotary_table(self.config, ids_BT.shape[1]))
        x_BTD = F.embedding(ids_BT, self.embedding)
        statistics = []
        for block in self.blocks:
            x_BTD, layer_statistics = block(x_BTD, cos_TP, sin_TP)
            if layer_statistics is not None:
                statistics.append(layer_statistics)
        return self.final_norm(x_BTD), statistics

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
