"""One word on each claim of a neighbouring paper, beside what the same rule says where the claim has nothing to say."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from howmany.claims import read_claims
from howmany.verdict import Finding, Judged, judge

Found = Mapping[str, Sequence[Finding]]
"""Quantity -> what was found."""


def verdicts(claims_file: str | Path, found: Found, by: str, placebos: Sequence[Found] = ()) -> list[Judged]:
    """Judge the claims of a file.

    Args:
        claims_file: in ``data/published``.
        found: of each quantity that a claim names.
        by: whose runs say it.
        placebos: the same quantities where the claims have nothing to say; one that a placebo lacks is not asked there.

    Raises:
        ValueError: a claim names a quantity that nobody computes.
    """
    made = []
    for claim in read_claims(claims_file):
        if claim.quantity and claim.quantity not in found:
            raise ValueError(f"claim {claim.key!r}: no quantity {claim.quantity!r}; there are {', '.join(found)}")
        asked = [judge(claim, each[claim.quantity], "placebo") for each in placebos if claim.quantity in each]
        made.append(judge(claim, found[claim.quantity] if claim.quantity else [], by).beside(asked))
    return made


def words(made: Sequence[Judged]) -> dict[str, str]:
    """Key of a claim -> its word."""
    return {each.claim.key: each.text for each in made}


def mean_finding(where: str, values: NDArray[np.float64], unit: str = "") -> Finding:
    """Mean over seeds, or layers, with its t interval."""
    reach = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Finding(where, float(values.mean()), float(values.mean() - reach), float(values.mean() + reach), unit)


def mean_findings(named: Mapping[str, NDArray[np.float64]], unit: str = "") -> list[Finding]:
    """Means over seeds at several places, each with its t interval by the noise of all places together.

    Args:
        named: place -> one number a seed. The noise between seeds is taken to be the same at all of them: a few seeds
            say little about it, many places of a few seeds enough.
        unit: of the numbers.
    """
    freedom = sum(len(values) - 1 for values in named.values())
    noise = np.sqrt(sum((len(values) - 1) * values.var(ddof=1) for values in named.values()) / freedom)
    found = []
    for where, values in named.items():
        middle, reach = float(values.mean()), float(stats.t.ppf(0.975, freedom) * noise / np.sqrt(len(values)))
        found.append(Finding(where, middle, middle - reach, middle + reach, unit))
    return found
