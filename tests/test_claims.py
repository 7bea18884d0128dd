"""Verdicts on claims: each word is given where it should be."""

import pandas as pd
import pytest

from moelaws.fitting.claims import monotone_verdict


def _optima(low: tuple[float, float], high: tuple[float, float], edge: str = "") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sparsity": [0.9, 0.0],  # order of the rows must not matter
            "n": [sum(high) / 2, sum(low) / 2],
            "n_low": [high[0], low[0]],
            "n_high": [high[1], low[1]],
            "edge": [edge, ""],
        }
    )


@pytest.mark.parametrize(
    ("low", "high", "edge", "sign", "word"),
    [
        ((1, 2), (3, 4), "", +1, "reproduced"),
        ((1, 2), (3, 4), "", -1, "contradicted"),
        ((3, 4), (1, 2), "", -1, "reproduced"),
        ((3, 4), (1, 2), "", +1, "contradicted"),
        ((1, 3), (2, 4), "", +1, "not resolved"),
        ((1, 2), (3, 4), "high", +1, "not resolved"),
    ],
)
def test_a_verdict_follows_the_intervals(
    low: tuple[float, float], high: tuple[float, float], edge: str, sign: int, word: str
) -> None:
    verdict = monotone_verdict(_optima(low, high, edge), "n", sign)
    assert verdict.word == word
    assert (verdict.first, verdict.last) == (sum(low) / 2, sum(high) / 2)
