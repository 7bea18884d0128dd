"""Families of models: how total and active parameters, FLOPs and cache follow from one size and the experts.

A law speaks of N or N_a and D; a budget and a memory speak of FLOPs and bytes. A family is what connects them.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moelaws.quote import shown

Array = Any
"""A float or a numpy array; all arguments of a family's functions broadcast."""


@dataclass(frozen=True)
class Family:
    """Models that differ in one size and in their experts.

    Each function takes the size, E and K, as numbers or arrays, and grows with the size.

    Attributes:
        name: for messages.
        size: what the size is, for messages.
        total_params: N.
        active_params: N_a.
        dense_params: parameters of the dense model of the same depth and width.
        flops_per_token: training FLOPs per token, forward and backward.
        kv_per_token: key and value numbers cached per token of context.
        settings: what the family was made with, so that it can be written down and made again (``family_of``).
    """

    name: str
    size: str
    total_params: Callable[[Array, Array, Array], Array]
    active_params: Callable[[Array, Array, Array], Array]
    dense_params: Callable[[Array, Array, Array], Array]
    flops_per_token: Callable[[Array, Array, Array], Array]
    kv_per_token: Callable[[Array, Array, Array], Array]
    settings: Mapping[str, float] = field(default_factory=dict)

    def columns(self, size: Array, n_experts: Array, top_k: Array) -> dict[str, Array]:
        """Columns of a run table for models of this family: sizes and experts, no tokens."""
        return {
            "total_params": self.total_params(size, n_experts, top_k),
            "active_params": self.active_params(size, n_experts, top_k),
            "dense_params": self.dense_params(size, n_experts, top_k),
            "n_experts": n_experts,
            "top_k": top_k,
            "sparsity": 1 - top_k / n_experts,
            "activation_ratio": top_k / n_experts,
            "granularity": 1.0,
        }

    def memory_bytes(self, size: Array, n_experts: Array, top_k: Array, memory: "Memory") -> Array:
        """Bytes of the weights, all experts included, and of the key-value cache."""
        cache = memory.cached_tokens * self.kv_per_token(size, n_experts, top_k)
        return memory.bytes_per_value * (self.total_params(size, n_experts, top_k) + cache)


@dataclass(frozen=True)
class Memory:
    """A memory that weights and cache must fit into.

    Attributes:
        bytes: what there is.
        bytes_per_value: 2 for bf16, of weights and cache alike.
        cached_tokens: tokens of context held in the cache, over all requests at once.

    Examples:
        >>> Memory(80e9, cached_tokens=1e5).bytes_per_value
        2.0
    """

    bytes: float
    bytes_per_value: float = 2.0
    cached_tokens: float = 0.0


def proportional() -> Family:
    """All parameters belong to experts: N_a = N K / E = N (1 - S). The rough picture of Abnar et al. 2025, Sec. 2.

    The size is N_a, FLOPs are 6 N_a per token, and the cache is left out, for want of a width.

    Examples:
        >>> float(proportional().columns(1e8, 8, 1)["total_params"])
        800000000.0
    """
    return Family(
        name="proportional",
        size="active parameters",
        total_params=lambda n, e, k: n * e / k,
        active_params=lambda n, e, k: n * np.ones_like(e / k),
        dense_params=lambda n, e, k: n * np.ones_like(e / k),
        flops_per_token=lambda n, e, k: 6 * n * np.ones_like(e / k),
        kv_per_token=lambda n, e, k: np.zeros_like(n * e / k),
    )


def switch(vocab_size: int = 50_257, aspect: float = 64.0) -> Family:
    """The models of Ludziejewski et al. 2025: SwiGLU experts of hidden width 3 d, d / aspect layers, untied embeddings.

    N = 2 d V + (4 + 9 E) l d^2 and N_a = 2 d V + (4 + 9 K) l d^2, with l = d / aspect. The size is the width d.

    Args:
        vocab_size: V.
        aspect: width over depth.

    Examples:
        >>> switch().columns(1e8, 8, 1)["sparsity"]
        0.875
    """
    return _of_width("switch", {"vocab_size": vocab_size, "aspect": aspect}, expert=9.0, flops=None)


def glu(vocab_size: int = 50_432, aspect: float = 64.0, context: int = 2048) -> Family:
    """The models of Abnar et al. 2025, App. C, at G = 1: gated experts of hidden width 4 d, untied embeddings.

    FLOPs per token are Eq. 9, 6 l d^2 (4 + 2 T / d + 12 K + V / (d l)). The size is the width d.

    Args:
        vocab_size: V.
        aspect: width over depth; the paper does not print its shapes.
        context: T.

    Examples:
        >>> glu().columns(1e8, 8, 1)["sparsity"]
        0.875
    """

    def flops(d: Array, e: Array, k: Array) -> Array:
        layers = d / aspect
        return 6 * (layers * d**2 * (4 + 2 * context / d + 12 * k * np.ones_like(e)) + vocab_size * d)

    settings = {"vocab_size": vocab_size, "aspect": aspect, "context": context}
    return _of_width("glu", settings, expert=12.0, flops=flops)


def alternating(share: float = 1 / 3, count_active: bool = False) -> Family:
    """The models of Yun et al. 2024: every second feed-forward layer is a mixture; the size is the dense N.

    N_total = (1 + (E - 1) share) N. Their training budget counts 6 N per token whatever K is; with ``count_active``
    it counts the K experts that work: 6 (1 + (K - 1) share) N. The cache follows no rule with a printed constant
    (h l = mu N^(2/3), mu not given) and is left out.

    Args:
        share: parameters of the layers that become mixtures, over all parameters of the dense model.
        count_active: whether FLOPs follow the active parameters.

    Examples:
        >>> columns = alternating().columns(1e8, 8, 1)
        >>> float(columns["total_params"]) > float(columns["active_params"])
        True
    """

    def active(n: Array, e: Array, k: Array) -> Array:
        return (1 + (k - 1) * share) * n * np.ones_like(e)

    def dense(n: Array, e: Array, k: Array) -> Array:
        return n * np.ones_like(e / k)

    return Family(
        name="alternating",
        size="parameters of the dense model",
        total_params=lambda n, e, k: (1 + (e - 1) * share) * n * np.ones_like(k),
        active_params=active,
        dense_params=dense,
        flops_per_token=(lambda n, e, k: 6 * active(n, e, k)) if count_active else (lambda n, e, k: 6 * dense(n, e, k)),
        kv_per_token=lambda n, e, k: np.zeros_like(n * e / k),
        settings={"share": share, "count_active": count_active},
    )


FAMILIES: Mapping[str, Callable[..., Family]] = {
    "proportional": proportional,
    "glu": glu,
    "switch": switch,
    "alternating": alternating,
}
"""Families by name."""


def family_of(name: str, settings: Mapping[str, float] | None = None) -> Family:
    """A family as it was written down: by its name and settings.

    Args:
        name: a key of ``FAMILIES``.
        settings: arguments of the function of that name; those left out have their defaults.

    Raises:
        ValueError: no such family, or a setting that it does not have or cannot take.

    Examples:
        >>> family_of("switch", {"vocab_size": 256}).settings
        {'vocab_size': 256, 'aspect': 64.0}
    """
    if name not in FAMILIES:
        raise ValueError(f"no family {shown(name)}; there are {', '.join(FAMILIES)}")
    defaults = {key: each.default for key, each in inspect.signature(FAMILIES[name]).parameters.items()}
    chosen: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        if key not in defaults:
            has = f"it has {', '.join(defaults)}" if defaults else "it has none"
            raise ValueError(f"family {name!r} has no setting {shown(key)}; {has}")
        kind = type(defaults[key])
        fits = isinstance(value, bool) if kind is bool else not isinstance(value, bool) and 0 < value < np.inf
        if not fits or (kind is int and value != int(value)):
            expected = {bool: "true or false", int: "a whole number > 0"}.get(kind, "a number > 0")
            raise ValueError(f"family {name!r}: {key} = {shown(value)}: expected {expected}")
        chosen[key] = kind(value)
    return FAMILIES[name](**chosen)


def _of_width(
    name: str, settings: Mapping[str, Any], expert: float, flops: Callable[[Array, Array, Array], Array] | None
) -> Family:
    vocab_size, aspect = settings["vocab_size"], settings["aspect"]

    def parameters(d: Array, experts: Array, other: Array) -> Array:
        return 2 * d * vocab_size + (4 + expert * experts) * d**3 / aspect * np.ones_like(other)

    def active(d: Array, e: Array, k: Array) -> Array:
        return parameters(d, k, e)

    return Family(
        name=name,
        size="width",
        total_params=lambda d, e, k: parameters(d, e, k),
        active_params=active,
        dense_params=lambda d, e, k: parameters(d, np.ones_like(e / k), e),
        flops_per_token=flops or (lambda d, e, k: 6 * active(d, e, k)),
        kv_per_token=lambda d, e, k: 2 * d**2 / aspect * np.ones_like(e / k),
        settings=settings,
    )
