"""The picture of the front page and the README shows the recorded runs, all of them."""

import re

import pytest

from howmany.figures.cover import cover
from moelaws.runs import finished, read_runs
from repository import ROOT

RUNS = finished(read_runs(ROOT / "data" / "runs" / "isoflop.csv"))


def test_the_picture_is_of_the_recorded_runs() -> None:
    drawn = (ROOT / "images" / "cover.svg").read_text(encoding="utf-8")
    points = re.findall(r'aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="point"', drawn)
    losses = sorted(float(re.search(r"; loss: ([\d.]+)", label)[1]) for label in points)
    assert losses == pytest.approx(sorted(RUNS["loss"]), abs=1e-6), (
        "draw it again: python -m howmany.figures.cover data/runs/isoflop.csv images/cover.svg"
    )


def test_the_picture_can_be_drawn_again() -> None:
    spec = cover(RUNS).to_dict()
    assert sum(len(rows) for rows in spec["datasets"].values()) > len(RUNS)
