"""The exact entropies of a Markov source of order 2 whose next word is one of two successors or a fresh draw.

Shape suffix: V words. Sums over the stationary distribution, which is solved to rounding; nothing is sampled.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Transitions:
    """How the source goes on from two words a, b.

    Attributes:
        second_VV: with probability ``p_second`` the next word is ``second_VV[a, b]``.
        first_V: with probability ``p_first`` it is ``first_V[b]``.
        fresh_V: the rest: probability of each word as a fresh draw. All are > 0; their sum is
            1 - p_second - p_first.
        p_second, p_first: probabilities of the two successors.
    """

    second_VV: NDArray[np.int64]
    first_V: NDArray[np.int64]
    fresh_V: Floats
    p_second: float
    p_first: float


def stationary_pairs(source: Transitions) -> Floats:
    """Probability of each pair of successive words, V x V, by iterating the chain until rounding stops it (1e-14)."""
    size = len(source.first_V)
    rows = np.arange(size)
    to_second = (rows * size + source.second_VV).ravel()  # pair (a, b) -> pair (b, successor)
    pairs_VV: Floats = np.full((size, size), 1 / size**2)
    before = math.inf
    while True:
        words_V = pairs_VV.sum(0)
        by_second = np.bincount(to_second, weights=source.p_second * pairs_VV.ravel(), minlength=size**2)
        new_VV: Floats = by_second.reshape(size, size) + words_V[:, None] * source.fresh_V
        new_VV[rows, source.first_V] += source.p_first * words_V
        new_VV /= new_VV.sum()
        change = float(np.abs(new_VV - pairs_VV).sum())
        pairs_VV = new_VV
        if change < 1e-12 and change >= before:
            return pairs_VV
        before = change


def entropies(source: Transitions, pairs_VV: Floats) -> tuple[float, float, float]:
    """Entropy of the next word given no, one and two words before it; more words tell nothing more.

    Args:
        source: the source.
        pairs_VV: its stationary distribution.

    Returns:
        Three entropies in nats; the last one is the entropy rate.
    """
    words, pairs = float(_plogp(pairs_VV.sum(0)).sum()), float(_plogp(pairs_VV).sum())
    second_VV, first_VV = source.second_VV, np.broadcast_to(source.first_V, source.second_VV.shape)
    # Fresh draws everywhere, corrected at the one or two words that are a successor.
    fresh_VV = source.fresh_V[second_VV]
    at_second = _plogp(fresh_VV + source.p_second) - _plogp(fresh_VV)
    at_both = _plogp(fresh_VV + source.p_second + source.p_first) - _plogp(fresh_VV)
    at_first = (_plogp(source.fresh_V + source.p_first) - _plogp(source.fresh_V))[first_VV]
    given_two_VV = _plogp(source.fresh_V).sum() + np.where(second_VV == first_VV, at_both, at_second + at_first)
    return words, pairs - words, float((pairs_VV * given_two_VV).sum())


def perfect_losses(source: Transitions, pairs_VV: Floats, windows: NDArray[np.int64]) -> Floats:
    """-ln p of each word given those before it in its window, nats.

    Args:
        source: the source.
        pairs_VV: its stationary distribution, which the first word of a window is drawn from.
        windows: words, windows x (context + 1).

    Returns:
        windows x context.
    """
    a, b, c = windows[:, :-2], windows[:, 1:-1], windows[:, 2:]
    p = source.fresh_V[c] + source.p_second * (source.second_VV[a, b] == c) + source.p_first * (source.first_V[b] == c)
    start = pairs_VV[windows[:, 0], windows[:, 1]] / pairs_VV.sum(1)[windows[:, 0]]
    losses: Floats = -np.log(np.column_stack([start, p]))
    return losses


def _plogp(p: Floats) -> Floats:
    """-p ln p."""
    return np.asarray(-p * np.log(p))
