"""What others measured, against the cost model: the recorded comparison is what the table and the model give today."""

import importlib.util
import json
from types import ModuleType

import pandas as pd
import pytest

from moelaws.exchange.published_models import find_published
from repository import ROOT


def _script() -> ModuleType:
    place = ROOT / "benchmarks" / "published_serving.py"
    spec = importlib.util.spec_from_file_location("published_serving", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_recorded_comparison_is_todays() -> None:
    recorded = json.loads((ROOT / "benchmarks" / "results" / "published_serving.json").read_text())
    found = _script().compare()
    assert [row["source"] for row in found["rows"]] == [row["source"] for row in recorded["rows"]]
    for now, then in zip(found["rows"], recorded["rows"], strict=True):
        assert now["predicted"] == pytest.approx(then["predicted"], rel=2e-3), "python benchmarks/published_serving.py"
    assert found["all"]["median_error"] == pytest.approx(recorded["all"]["median_error"], abs=2e-3)
    # The pages say how far off it is.
    stated = f"{recorded['all']['median_error']:.0%} in the median".replace("%", " %")
    for page in ("benchmarks/README.md", "own_runs.md"):
        assert stated in (ROOT / page).read_text(), page


def test_every_measurement_has_its_source_and_a_model_that_is_counted() -> None:
    table = pd.read_csv(ROOT / "data" / "published" / "serving_measurements.csv")
    assert table[["source", "tag", "program", "note"]].notna().all(axis=None)
    assert all(find_published(name) for name in table["model"])
    assert (table[["value", "requests", "gpus", "output_tokens"]] > 0).all(axis=None)
