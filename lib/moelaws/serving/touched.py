"""Distinct experts that a step reads: under even routing, and under the uneven routing of a real router."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = Any
Rule = Literal["distinct", "total", "active"]
"""Which experts a step is said to read. ``distinct``: those that some token chose, which is what happens.
``total``: all E, and ``active``: K, as the two usual rules of thumb have it."""


def even_experts(n_experts: Array, top_k: Array, tokens: Array, rule: Rule = "distinct") -> Array:
    """Experts of one layer that a step of ``tokens`` tokens reads, under even and independent routing.

    Args:
        n_experts: E.
        top_k: K.
        tokens: tokens in the step, B; all three broadcast.
        rule: see ``Rule``.

    Returns:
        E (1 - (1 - K/E)^B), or what the rule of thumb says.

    Raises:
        ValueError: an unknown rule.
    """
    n_experts, top_k, tokens = (np.asarray(v, float) for v in (n_experts, top_k, tokens))
    if rule == "distinct":
        return n_experts * (1 - (1 - top_k / n_experts) ** tokens)
    if rule == "total":
        return n_experts * np.ones_like(tokens * top_k)
    if rule == "active":
        return top_k * np.ones_like(tokens * n_experts)
    raise ValueError(f"rule {rule!r}: expected 'distinct', 'total' or 'active'")


def experts_of_loads(loads: Sequence[float] | np.ndarray, top_k: int, tokens: Array) -> Array:
    """Experts of one layer that a step reads when experts receive unequal shares of the choices.

    A token's K choices are different experts. So an expert that receives the share p of all choices is chosen by a
    token with probability q = K p, exactly and for any K; B tokens that choose independently read
    sum_e 1 - (1 - K p_e)^B experts. With p = 1/E this is the even formula, and no other loads read more (the sum is
    concave in the loads). Tokens of one sequence are alike and read fewer still.

    Args:
        loads: share of all choices that each expert receives, [E], summing to one (a run table's ``expert_load``).
        top_k: K.
        tokens: B, a number or an array.

    Returns:
        Expected number of experts, of the shape of ``tokens``.

    Raises:
        ValueError: loads that are no shares, or a share above 1/K, which no router of K different experts can give.
    """
    shares = np.asarray(loads, float)
    if shares.ndim != 1 or shares.size == 0 or (shares < 0).any() or abs(shares.sum() - 1) > 1e-3:
        raise ValueError(f"loads: expected shares >= 0 that sum to one, found a sum of {shares.sum():g}")
    chosen = top_k * shares / shares.sum()
    if (chosen > 1 + 1e-6).any():
        raise ValueError(f"loads: a share of {shares.max():g} is more than 1/K = {1 / top_k:g}")
    return np.sum(1 - (1 - np.minimum(chosen, 1)) ** np.asarray(tokens, float)[..., None], axis=-1)


@dataclass(frozen=True)
class UnevenRouting:
    """Routing whose experts get unequal shares: measured loads, or how even they are.

    Attributes:
        loads: shares of all choices that each expert receives, a tuple a layer, or one for all layers; for a model of
            as many experts.
        evenness: entropy of the loads over ln E, at most 1, which is even; for a model of any number of experts, with
            the shape of ``loads_of_entropy``.

    Raises:
        ValueError: neither is given or both, no shares, or an evenness that is none.
    """

    loads: tuple[tuple[float, ...], ...] = ()
    evenness: float | None = None

    def __post_init__(self) -> None:
        if bool(self.loads) == (self.evenness is not None):
            raise ValueError("uneven routing: expected either loads of the experts or their evenness")
        if self.evenness is not None and not 0 <= self.evenness <= 1:
            raise ValueError(f"evenness = {self.evenness!r}: expected 0 (one expert does all) to 1 (all do the same)")

    def touched(self, n_experts: Array, top_k: Array, tokens: Array) -> Array:
        """Experts of one layer that a step reads, mean over layers.

        Args:
            n_experts, top_k, tokens: E, K and tokens in the step; they broadcast.

        Raises:
            ValueError: loads of another number of experts, or that no router of K different experts can give.
        """
        n_experts, top_k, tokens = np.broadcast_arrays(*(np.asarray(v, float) for v in (n_experts, top_k, tokens)))
        found = np.ones(n_experts.shape)
        for e, k in {*zip(n_experts.ravel(), top_k.ravel(), strict=True)}:
            here = (n_experts == e) & (top_k == k)
            if e > 1:
                layers = self._layers(round(float(e)), round(float(k)))
                found[here] = np.mean([experts_of_loads(one, round(float(k)), tokens[here]) for one in layers], axis=0)
        return found[()]

    def _layers(self, n_experts: int, top_k: int) -> Sequence[Sequence[float] | np.ndarray]:
        if self.evenness is not None:
            return [loads_of_entropy(n_experts, self.evenness * float(np.log(n_experts)), top_k)]
        for one in self.loads:
            if len(one) != n_experts:
                raise ValueError(f"loads of {len(one)} experts, for a model of {n_experts}: expected a share for each")
        return self.loads


Routing = Rule | UnevenRouting
"""Which experts a step reads: a rule, or routing that is known not to be even."""


def touched_experts(routing: Routing, n_experts: Array, top_k: Array, tokens: Array) -> Array:
    """Experts of one layer that a step of so many tokens reads, see ``even_experts`` and ``UnevenRouting``."""
    if isinstance(routing, UnevenRouting):
        return routing.touched(n_experts, top_k, tokens)
    return even_experts(n_experts, top_k, tokens, routing)


def load_entropy(loads: Sequence[float] | np.ndarray) -> float:
    """Entropy of the experts' loads, in nats: ln E when they are even, 0 when one expert does all.

    It is not the run table's ``router_entropy``, the mean entropy of single tokens' distributions: a router can be
    sure of every token and still load its experts evenly.
    """
    shares = np.asarray(loads, float)
    shares = shares[shares > 0] / shares.sum()
    return float(-(shares * np.log(shares)).sum())


def loads_of_entropy(n_experts: int, entropy: float, top_k: int = 1) -> np.ndarray:
    """Loads p_r proportional to 1 / r^s, s chosen for a given entropy: for when only the entropy is known.

    Measured loads are better; the shape 1 / r^s is an assumption.

    Args:
        n_experts: E.
        entropy: of the loads, in nats.
        top_k: K; no share may exceed 1/K.

    Returns:
        Loads, [E], falling.

    Raises:
        ValueError: an entropy above ln E, or so low that a share would exceed 1/K.
    """
    if not 0 <= entropy <= np.log(n_experts) + 1e-9:
        raise ValueError(f"entropy = {entropy:g}: expected 0 to ln {n_experts} = {np.log(n_experts):.4g}")
    ranks = np.log(np.arange(1, n_experts + 1))
    low, high = 0.0, 200.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if load_entropy(np.exp(-middle * ranks)) > entropy else (low, middle)
    loads = np.exp(-0.5 * (low + high) * ranks)
    loads /= loads.sum()
    if loads[0] > 1 / top_k + 1e-9:
        raise ValueError(f"entropy = {entropy:g} loads one expert with {loads[0]:.3g}, more than 1/K = {1 / top_k:.3g}")
    return loads


def loads_of_cell(text: str) -> list[list[float]]:
    """Loads of every layer from a run table's cell ``expert_load``.

    Args:
        text: a JSON list of lists, one a layer.

    Raises:
        ValueError: a cell that is no such list.
    """
    try:
        layers = json.loads(text)
        return [[float(share) for share in layer] for layer in layers]
    except (TypeError, ValueError):
        raise ValueError(f"expert_load: expected a JSON list of loads per layer, found {text[:40]!r}") from None
