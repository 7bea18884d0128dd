"""The page on clusters: its arithmetic is what it says; for its commands see test_documented_commands."""

import math
import re

import pytest

from repository import ROOT

PAGE = (ROOT / "clusters.md").read_text()
UNITS = {"s": 1, "min": 60, "h": 3600, "days": 86400}


def _close(cell: str, seconds: float) -> bool:
    """Whether a cell like ``4.6 days`` is a duration, rounded as it is printed."""
    number, unit = cell.replace(",", "").split()
    half = 0.5 * 10.0 ** -len(number.partition(".")[2])
    return abs(seconds / UNITS[unit] - float(number)) <= half


def test_the_table_of_costs_is_the_arithmetic_it_says() -> None:
    found = re.findall(r"^\| (1e\d\d) \| (.*) \|$", PAGE, flags=re.MULTILINE)
    assert [budget for budget, _ in found] == ["1e15", "1e16", "1e17", "1e18"]
    for budget, line in found:
        cells = line.split(" | ")
        flops = float(budget)
        size = math.sqrt(flops / 120)
        assert float(cells[0].split()[0]) == pytest.approx(size / 1e6, rel=0.02)
        tokens, unit = cells[1].split()
        decimals = len(tokens.partition(".")[2])
        assert float(tokens) == pytest.approx(20 * size / {"M": 1e6, "B": 1e9}[unit], abs=0.5 * 10.0**-decimals)
        for cell, speed in zip(cells[2:6], (25e9, 0.05 * 312e12, 0.05 * 989e12, 0.3 * 989e12), strict=True):
            assert _close(cell, flops / speed), (budget, cell, flops / speed)
        hours = 200 * flops / (0.05 * 989e12) / 3600
        time, dollars = cells[6].split(", ")
        assert _close(time, hours * 3600)
        assert float(dollars.removeprefix(r"\$").replace(",", "")) == pytest.approx(3 * hours, abs=0.5)
