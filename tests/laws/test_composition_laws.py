"""Zhao et al. 2025 and Wan et al. 2026: what their papers say follows from their numbers (algebra, no evidence)."""

import math

import numpy as np
import pytest

import moelaws as ml
from moelaws.laws import LAWS, Law

ZHAO, WAN = LAWS["zhao2025"], LAWS["wan2026"]


def _loss(
    law: Law,
    total: float,
    active: "float | np.ndarray",
    in_all: "float | np.ndarray" = 8.0,
    share: "float | np.ndarray" = 0.3,
) -> np.ndarray:
    shared = share * in_all
    table = {
        "total_params": total, "active_params": active, "tokens": 1e12,
        "top_k": in_all - shared, "shared_experts": shared,
    }  # fmt: skip
    return np.asarray(law.predict(law.published["all"], table))


def test_zhaos_best_number_of_active_experts() -> None:
    counts = np.linspace(2, 16, 14_001)
    assert counts[int(np.argmin(_loss(ZHAO, 30e9, 3e9, counts)))] == pytest.approx(6.778, abs=2e-3)


def test_zhaos_best_share_of_shared_experts() -> None:
    shares = np.linspace(0, 1, 10_001)
    best = shares[int(np.argmin(_loss(ZHAO, 30e9, 3e9, 8.0, shares)))]
    assert best == pytest.approx(0.315, abs=1e-3)


@pytest.mark.parametrize(("total", "share"), [(30e9, 0.4007), (671e9, 0.2204)])
def test_zhaos_best_active_share_of_the_parameters(total: float, share: float) -> None:
    active = total * np.geomspace(0.05, 1, 200_001)
    losses = _loss(ZHAO, total, active, math.sqrt(7.2446 / 0.1577), 3.2363 / 2 / 5.1395)
    assert active[int(np.argmin(losses))] / total == pytest.approx(share, abs=2e-4)


def test_wans_exponents_share_out_all_compute() -> None:
    published = WAN.published["optimal"]
    tokens = [float(WAN.predict(published, {"train_flops": budget})) for budget in (1e18, 1e20)]
    assert tokens[0] == pytest.approx(22.89e9)
    flops = [budget / each for budget, each in zip((1e18, 1e20), tokens, strict=True)]
    assert flops[0] == pytest.approx(0.0437e9, rel=5e-4)
    assert math.log(flops[1] / flops[0], 100) == pytest.approx(0.5437, abs=1e-4)


def test_both_are_known_by_name_and_ask_for_their_columns() -> None:
    assert ml.law("zhao2025").columns(["total_params", "active_params", "tokens", "top_k", "shared_experts"])
    with pytest.raises(ml.laws.LawError, match="wan2026"):
        ml.law("wan2026").columns(["tokens"])
