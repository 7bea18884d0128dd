"""Passages that stood before, word for word or nearly: what must not stand on both sides of a split.

A passage is compared by its shingles, the runs of ``SHINGLE`` bytes that it holds once its spaces are made one. One
shingle in ``KEPT_OF`` is looked at, chosen by its hash, so that the same ones are chosen wherever they stand (Broder
1997). Shingles seen are bits of a table of 128 MB; one in a hundred is taken for seen by chance, always the same one.
"""

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SHINGLE = 48
KEPT_OF = 16
SHARE = 0.5  # of a passage's shingles that stood before, from which on it is a near-copy
LONG = 100  # characters from which on a passage must not repeat
JUDGED = 200  # from which on it is asked for near-copies: shorter ones have too few shingles
_FEWEST = 6

_TABLE_BITS = 30
_ODD = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xD6E8FEB86659FD93)
_LONGEST = 1 << 20


class Seen:
    """What has been kept so far."""

    def __init__(self) -> None:
        self._whole: set[bytes] = set()
        self._bits = np.zeros(2 ** (_TABLE_BITS - 3), dtype=np.uint8)

    def judge(self, passage: str) -> str:
        """Say whether a passage stood before, and remember it if not.

        Args:
            passage: a function with its documentation, a paragraph, or a whole text.

        Returns:
            ``"new"``, ``"copy"`` (word for word, spaces aside) or ``"near-copy"``.
        """
        text = " ".join(passage.split()).encode()
        if len(text) < LONG:
            return "new"
        whole = hashlib.blake2b(text, digest_size=8).digest()
        if whole in self._whole:
            return "copy"
        self._whole.add(whole)
        places = shingles(text)
        if len(text) >= JUDGED and len(places) >= _FEWEST and self._known(places) > SHARE:
            return "near-copy"
        np.bitwise_or.at(self._bits, places >> np.uint64(3), _bit(places))
        return "new"

    def _known(self, places: NDArray[np.uint64]) -> float:
        return float(np.count_nonzero(self._bits[places >> np.uint64(3)] & _bit(places)) / len(places))


def shingles(text: bytes) -> NDArray[np.uint64]:
    """The distinct shingles of a text that are looked at, as places in the table.

    Args:
        text: bytes; what lies beyond the first 2^20 is not looked at.
    """
    text = text[:_LONGEST]
    if len(text) < SHINGLE:
        return np.empty(0, dtype=np.uint64)
    # A polynomial in an odd number, modulo 2^64: sums over a window are differences of one running sum.
    powers, inverses = _powers(_ODD), _powers(pow(_ODD, -1, 2**64))
    terms = np.frombuffer(text, dtype=np.uint8) * powers[: len(text)]
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(terms, dtype=np.uint64)])
    hashes = (sums[SHINGLE:] - sums[:-SHINGLE]) * inverses[: len(text) - SHINGLE + 1]
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MIX
    hashes ^= hashes >> np.uint64(29)
    chosen = hashes[hashes % np.uint64(KEPT_OF) == 0]
    return np.unique(chosen >> np.uint64(64 - _TABLE_BITS))


def _bit(places: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return np.left_shift(np.uint8(1), (places & np.uint64(7)).astype(np.uint8))


@lru_cache(maxsize=2)
def _powers(base: int) -> NDArray[np.uint64]:
    factors = np.full(_LONGEST, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)
