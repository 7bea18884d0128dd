"""Verdicts on what Abnar et al. 2025 (Sec. 5) say of downstream tasks, by rule."""

from typing import Literal

import pandas as pd

from howmany.claims import place

Word = Literal["reproduced", "not reproduced", "not resolved", "cannot be tested here"]


def same_curve(found: pd.DataFrame, tolerance: float) -> Word:
    """Judge the claim that what models can do is one function of the loss at all sparsities.

    Args:
        found: rows of ``compare_at_equal_loss``, the pool first, the single probes at a level that allows for their
            number.
        tolerance: nats of loss; smaller penalties count as none.

    Returns:
        ``not reproduced`` if one interval lies outside the tolerance, else ``reproduced`` if that of the pool lies
        within it, else ``not resolved``; ``cannot be tested here`` if no probe follows the loss.
    """
    able = found[found["penalty"].notna()]
    if able.empty:
        return "cannot be tested here"
    ends = zip(able["penalty_low"], able["penalty_high"], strict=True)
    places = [place(low, high, -tolerance, tolerance) for low, high in ends]
    if "beside" in places:
        return "not reproduced"
    return "reproduced" if places[0] == "in" else "not resolved"


def sparse_worse(found: pd.DataFrame) -> Word:
    """Judge the claim that sparse models do worse at equal loss.

    Args:
        found: rows of ``compare_at_equal_loss``, at a level that allows for their number.

    Returns:
        ``reproduced`` if some interval says worse and none better, ``not reproduced`` if some says better and none
        worse, else ``not resolved``; ``cannot be tested here`` if no probe can tell.
    """
    words = set(found["finding"]) - {"cannot tell"}
    if not words:
        return "cannot be tested here"
    if "sparse worse" in words and "sparse better" not in words:
        return "reproduced"
    return "not reproduced" if "sparse better" in words and "sparse worse" not in words else "not resolved"
