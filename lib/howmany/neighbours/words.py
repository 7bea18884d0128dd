"""One word on each claim of a neighbouring paper, beside what the same rule says where the claim has nothing to say."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from howmany.claims import read_claims
from howmany.verdict import Finding, Judged, judge

Found = Mapping[str, Sequence[Finding]]
"""Quantity -> what was found."""

OF_COMPOSITION = frozenset({"more_experts", "fine_optimum", "one_shared"})
"""Quantities that the chapter on composition computes, whoever claims something of them."""


def verdicts(
    claims_file: str | Path,
    found: Found,
    by: str,
    placebos: Sequence[Found] = (),
    only: Collection[str] = (),
) -> list[Judged]:
    """Judge the claims of a file.

    Args:
        claims_file: in ``data/published``.
        found: of each quantity that a claim names; those that another chapter computes may be missing, and claims of
            them are left to it.
        by: whose runs say it.
        placebos: the same quantities where the claims have nothing to say; one that a placebo lacks is not asked there.
        only: quantities; other claims are left to other chapters.

    Raises:
        ValueError: a claim names a quantity that nobody computes.
    """
    made = []
    for claim in read_claims(claims_file):
        asked = claim.quantity
        if (only and asked not in only) or (asked in OF_COMPOSITION and asked not in found):
            continue
        if asked and asked not in found:
            raise ValueError(f"claim {claim.key!r}: no quantity {asked!r}; there are {', '.join(found)}")
        blind = [judge(claim, each[asked], "placebo") for each in placebos if asked in each]
        made.append(judge(claim, found[asked] if asked else [], by).beside(blind))
    return made


def words(made: Sequence[Judged]) -> dict[str, str]:
    """Key of a claim -> its word."""
    return {each.claim.key: each.text for each in made}


def mean_finding(where: str, values: NDArray[np.float64], unit: str = "") -> Finding:
    """Mean over seeds, or layers, with its t interval."""
    reach = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Finding(where, float(values.mean()), float(values.mean() - reach), float(values.mean() + reach), unit)


def exchanged(named: Mapping[str, NDArray[np.float64]], seed: int) -> dict[str, NDArray[np.float64]]:
    """Differences of two things, as they are if the two had each other's name in one of the seeds: a placebo."""
    return {where: np.where(np.arange(len(values)) == seed, -values, values) for where, values in named.items()}


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
