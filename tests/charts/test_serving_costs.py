"""Figures of serving: every one can be drawn, and the explorer reads out what the library finds."""

import html
import re

import numpy as np
import pandas as pd
import pytest

from moelaws.charts.offline import static_spec, vegalite_version
from moelaws.charts.serving_costs import (
    cost_by_size,
    dollars_explorer,
    loss_by_cost,
    ratio_bars,
    step_parts,
    time_per_token,
    verdict_ranges,
)
from moelaws.serving.bounded import Trade, loss_optimal
from moelaws.serving.cost import deploy
from moelaws.serving.forecasters import published
from moelaws.serving.frontier import same_loss_models
from moelaws.serving.hardware import accelerator

TEXT = {"title": "A finding", "description": "What the figure shows."}


def draw(chart) -> str:
    vl_convert = pytest.importorskip("vl_convert")
    version = vegalite_version(vl_convert.get_vegalite_versions())
    return html.unescape(vl_convert.vegalite_to_svg(static_spec(chart.to_dict()), vl_version=version))


def figures():
    costs = pd.DataFrame(
        {
            "law": ["a", "a", "b", "b"], "n_experts": [1, 1, 8, 8], "total_params": [1e9, 2e9, 3e9, 6e9],
            "dollars_per_million": [0.1, 0.2, 0.15, 0.3], "gpus": [1, 1, 1, 2], "loss": [2.5, 2.4, 2.3, 2.2],
        }
    )  # fmt: skip
    parts = pd.DataFrame(
        {
            "model": ["E = 1", "E = 1", "E = 8", "E = 8"], "batch": [1, 4, 1, 4], "part": ["cache", "experts"] * 2,
            "milliseconds": [1.0, 2.0, 3.0, 4.0],
        }
    )  # fmt: skip
    ranges = pd.DataFrame(
        {
            "claim": ["one", "two"], "law": "a", "word": ["reproduced", "partly"], "low": [0.9, 1.0],
            "high": [1.1, 1.0], "least": [0.5, 0.6], "most": [2.0, 3.0], "printed_low": 0.95, "printed_high": 1.05,
        }
    )  # fmt: skip
    bars = pd.DataFrame({"law": "a", "n_experts": [8, 16], "ratio": [0.4, 0.3], "low": [0.3, 0.2], "high": [0.5, 0.4]})
    times = pd.DataFrame({"batch": [1, 2, 1, 2], "n_experts": [1, 1, 8, 8], "microseconds": [9.0, 5.0, 9.0, 8.0]})
    return {
        "parts": step_parts(parts, **TEXT),
        "times": time_per_token(times, **TEXT),
        "size": cost_by_size(costs, **TEXT),
        "loss": loss_by_cost(costs, costs.head(1), **TEXT),
        "loss without marks": loss_by_cost(costs, costs.head(0), **TEXT),
        "bars": ratio_bars(bars, "share of the cost", **TEXT),
        "verdicts": verdict_ranges(ranges, **TEXT),
    }


def test_a_claim_to_which_a_law_has_no_answer_leaves_its_line_empty():
    """NaN in a table is null on the page, where a mark from it would be drawn from nowhere."""
    numbers = {"low": [0.9, None], "high": [1.1, None], "least": [0.5, 0.5], "most": [2.0, None]}
    table = pd.DataFrame({"claim": ["one", "two"], "law": "a", "word": ["partly", "not resolved"]} | numbers)
    drawn = draw(verdict_ranges(table.assign(printed_low=0.95, printed_high=1.05), **TEXT))
    assert "NaN" not in drawn
    assert "two" in drawn


@pytest.mark.parametrize("name", list(figures()))
def test_every_figure_can_be_drawn(name):
    figure = figures()[name]
    assert figure.to_dict()["description"] == "What the figure shows."
    drawn = draw(figure)
    assert "A finding" in drawn
    assert drawn.count("<path") > 3


def test_the_explorer_reads_out_the_cheapest_of_its_models():
    trade = Trade(published("abnar2025"), deploy(accelerator("a100-40gb")))
    target = loss_optimal(trade, 1e21, 1, 1).allocation.loss
    models = same_loss_models(trade, 1e21, target + 1e-9, (1, 8, 32), points=15).assign(law="Abnar")
    text = draw(dollars_explorer(models, "What it shows."))
    # Where the sliders start: 1e11 tokens at two dollars an hour.
    dollars = 2 / 3600 * (models["train_seconds"] + 1e11 * models["serve_seconds"])
    best = models.loc[dollars.idxmin()]
    read = re.search(r"Cheapest: E = (\d+), N = ([\d.]+)B", text)
    paid = re.search(r"\$([\d,]+) to train, \$([\d,]+) to serve", text)
    assert read, text[-3000:]
    assert paid, text[-3000:]
    assert int(read[1]) == best["n_experts"]
    assert float(read[2]) == pytest.approx(best["total_params"] / 1e9, rel=5e-3)
    assert float(paid[1].replace(",", "")) == pytest.approx(2 / 3600 * best["train_seconds"], abs=1)
    assert float(paid[2].replace(",", "")) == pytest.approx(2 / 3600 * 1e11 * best["serve_seconds"], abs=1)
    assert np.isfinite(dollars).all()
