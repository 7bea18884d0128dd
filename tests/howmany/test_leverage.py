"""Leverage read from runs whose leverage is known, and the printed law at what was computed by hand."""

import numpy as np
import pandas as pd
import pytest

from howmany.neighbours import leverage
from howmany.neighbours.printed_laws import leverage_table, leverage_zero
from howmany.study import PLAIN
from repository import ROOT

CLAIMS = str(ROOT / "data" / "published" / "tian_claims.csv")
BUDGETS = (1e11, 3e11, 1e12, 3e12, 1e13)


def worth(ratio: float, budget: float, granularity: float) -> float:
    """Grows with sparsity and budget; halves are worth 1.2 times wholes, quarters no more."""
    return 1.0 if ratio == 1 else ratio ** (0.1 * np.log10(budget / 1e10)) * (1.2 if granularity > 1 else 1.0)


def runs(noise: float = 0.001) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for budget in BUDGETS:
        for ratio in (1, 2, 4, 8, 16, 32, 64):
            for k in (1, 2, 4):
                if (ratio == 1 and k > 1) or (k > 1 and budget not in BUDGETS[1:4]):
                    continue
                factor = worth(ratio, budget, k)
                best = 10 * (budget * factor) ** -0.035
                size = 2e4 * (budget / 1e11) ** 0.5 * ratio**-0.1
                for seed in (0, 1):
                    for step in (-1.0, -0.5, 0.0, 0.5, 1.0):
                        active = size * np.exp(step)
                        rows.append({
                            "budget": budget, "d_model": 8 * round(4 + 2 * step), "seed": seed, "n_experts": k * ratio,
                            "top_k": k, "granularity": float(k), "sparsity": 1 - 1 / ratio, "active_params": active,
                            "total_params": active * (1 + 0.6 * (ratio - 1)), "tokens": budget / 6 / active,
                            "corpus": "x", "loss": best + 0.03 * step**2 + noise * rng.normal(), "status": "finished",
                        })  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def found() -> leverage.Leverage:
    return leverage.leverage_of(runs(), bootstrap=60)


def test_leverage_is_what_was_put_in(found: leverage.Leverage) -> None:
    assert found.budgets == [3e11, 1e12, 3e12] or found.budgets == [1e11, 3e11, 1e12, 3e12]
    for design, k in zip(leverage.DESIGNS, (1, 2, 4), strict=True):
        for budget in (3e11, 1e12, 3e12):
            for ratio in (4.0, 16.0):
                draws = found.at(design, budget, ratio)
                assert draws is not None
                low, high = np.nanquantile(np.exp(draws[1:]), [0.005, 0.995])
                expected = worth(ratio, budget, k)
                assert low * 0.97 < expected < high * 1.03
                assert high / low < 1.3
    assert found.paths[PLAIN][1e13][2]
    assert found.at((2, 2.0), 1e13, 4.0) is None


def test_words_where_the_truth_is_known(found: leverage.Leverage) -> None:
    blind = leverage.placebos(runs(0.003), 2, 40)
    made = {each.claim.key: each for each in leverage.judged(found, CLAIMS, blind)}
    for key in ("el-rises-with-sparsity", "el-by-c", "g-rises", "smaller-more-data"):
        assert made[key].text == "reproduced", key
        assert made[key].asked_placebo == "placebo 0 of 2", key
    assert made["g-still-rises"].word == "not resolved"
    assert {"g-optimum", "one-shared"}.isdisjoint(made)  # the chapter on composition judges them
    numbers = leverage.numbers(found, list(made.values()))
    assert "one of 64, at 3e12 FLOPs" in numbers["lv_best_where"]


def test_table_and_figure(found: leverage.Leverage) -> None:
    table = leverage.table_of(found)
    assert list(table.columns) == ["1 of 2", "1 of 4", "1 of 8", "1 of 16", "1 of 32", "1 of 64"]
    assert table.loc[("K = 1, G = 1", "1e13"), "1 of 16"].endswith("*")
    assert not table.loc[("K = 1, G = 1", "3e12"), "1 of 16"].endswith("*")
    assert "Best: " in leverage.figure(found).to_dict()["title"]


def test_the_printed_law_says_what_was_computed_by_hand() -> None:
    table = leverage_table()
    assert list(table.loc["1e+18"]) == ["1.96", "2.86", "3.28", "3.61"]
    assert list(table.loc["1e+22"]) == ["3.56", "7.22", "9.35", "11.22"]
    assert leverage_zero(12) == pytest.approx(3e13, rel=0.05)
    assert leverage_zero(2) == pytest.approx(7e14, rel=0.05)
