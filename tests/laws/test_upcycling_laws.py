"""Liew et al. 2025 at what was computed by hand from their printed numbers (algebra, no evidence)."""

import pytest

from moelaws.laws import LAWS

UPCYCLED, SCRATCH = LAWS["liew2025"], LAWS["liew2025_scratch"]


@pytest.mark.parametrize(
    ("before", "after", "loss"), [(1e11, 1e10, 2.2364), (1e11, 1e11, 2.0654), (1e12, 1e11, 2.0111)]
)
def test_upcycled(before: float, after: float, loss: float) -> None:
    run = {"dense_params": 1e9, "dense_tokens": before, "tokens": after}
    assert float(UPCYCLED.predict(UPCYCLED.published["upcycled"], run)) == pytest.approx(loss, abs=6e-5)


@pytest.mark.parametrize(
    ("kind", "tokens", "loss"), [("dense", 1e11, 2.2270), ("moe", 1e10, 2.2939), ("moe", 1e11, 2.0505)]
)
def test_from_scratch(kind: str, tokens: float, loss: float) -> None:
    run = {"dense_params": 1e9, "tokens": tokens}
    assert float(SCRATCH.predict(SCRATCH.published[kind], run)) == pytest.approx(loss, abs=6e-5)


def test_more_dense_tokens_flatten_the_slope() -> None:
    """The exponent of D2 falls by 2.8 % a decade of D1, by the natural logarithm."""
    values = UPCYCLED.published["upcycled"]
    floor = float(UPCYCLED.predict(values, {"dense_params": 1e9, "dense_tokens": 1e11, "tokens": 1e300}))

    def slope(before: float) -> float:
        run = {"dense_params": 1e9, "dense_tokens": before}
        one, other = (float(UPCYCLED.predict(values, run | {"tokens": after})) - floor for after in (1e10, 1e11))
        return 1 - other / one

    assert 0 < slope(1e12) < slope(1e11) < slope(1e10)
    assert slope(1e12) / slope(1e11) == pytest.approx(0.9744, abs=2e-3)
