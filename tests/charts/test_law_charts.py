"""Figures of laws: the page computes what the library computes, and every figure can be drawn."""

import html
import math
import re

import numpy as np
import pandas as pd
import pytest

from moelaws.charts.explorer import explorer
from moelaws.charts.expression import vega_expression
from moelaws.charts.fits import (
    forecast,
    gain_by_size,
    multipliers,
    objective_by_start,
    predicted_loss_by_experts,
    profile_curve,
    valley,
)
from moelaws.charts.isoflop_curves import best_sparsity_curves, isoflop_curves, optima_by_budget
from moelaws.charts.offline import static_spec, vegalite_version
from moelaws.charts.routing import coloured_text, token_experts
from moelaws.charts.tables import readable
from moelaws.laws import LAWS, law
from moelaws.optimum.optimum import Forecaster, Memory, best_size, best_sparsity

ABNAR = Forecaster(law("abnar2025"), law("abnar2025").published["table3"])


def draw(chart) -> str:
    vl_convert = pytest.importorskip("vl_convert")
    version = vegalite_version(vl_convert.get_vegalite_versions())
    return html.unescape(vl_convert.vegalite_to_svg(static_spec(chart.to_dict()), vl_version=version))


@pytest.mark.parametrize("name", [name for name, each in LAWS.items() if each.published])
def test_a_vega_expression_says_what_the_law_says(name):
    each = LAWS[name]
    values = {"N": 3e9, "D": 4e10, "E": 8.0, "S": 0.875, "G": 4.0, "A": 0.125, "C": 1e20, "D1": 1e10, "D2": 2e10}
    values |= {"N_a": 5e8, "K": 3.0, "K_s": 1.0}
    run = {variable.columns[0]: values[variable.symbol] for variable in each.variables}
    vega = {
        "pow": math.pow,
        "log": math.log,
        "exp": math.exp,
        "sqrt": math.sqrt,
        "LN2": math.log(2),
        "LN10": math.log(10),
    }
    for params in each.published.values():
        text = vega_expression(each, params, {v.symbol: repr(values[v.symbol]) for v in each.variables})
        # The expression is our own output, of numbers, brackets and these functions alone.
        computed = eval(text, {"__builtins__": {}}, vega)
        assert computed == pytest.approx(float(each.predict(params, run)), rel=1e-12)


def test_the_explorer_reads_out_what_the_library_finds():
    text = draw(explorer(ABNAR.law, ABNAR.params))
    found = {key: re.search(pattern, text) for key, pattern in {
        "experts": r"Chosen: 8\.0 experts, 1 active",
        "chosen": r"N_a = (\d+)M, D = ([\d.]+)B, loss ([\d.]+)",
        "size": r"Best N at this S: ([\d.]+)B, loss ([\d.]+)",
        "sparsity": r"Best S at this N: ([\d.]+), loss ([\d.]+)",
        "memory": r"Best in memory: ([\d.]+)B, S \S+ ([\d.]+), loss ([\d.]+)",
    }.items()}  # fmt: skip
    assert all(found.values()), text[-2000:]
    run = {"total_params": 10**9.5, "tokens": 1e20 / (6 * 10**9.5 / 8), "sparsity": 0.875}
    assert float(found["chosen"][3]) == pytest.approx(float(ABNAR.law.predict(ABNAR.params, run)), abs=6e-4)
    best = best_size(ABNAR, 1e20, n_experts=8)
    assert float(found["size"][1]) == pytest.approx(best.total_params / 1e9, rel=0.06)  # a grid of 24 sizes a decade
    assert float(found["size"][2]) == pytest.approx(best.loss, abs=6e-4)
    sparse = best_sparsity(ABNAR, 1e20, 10**9.5)
    assert float(found["sparsity"][1]) == pytest.approx(sparse.sparsity, abs=2e-3)
    assert float(found["sparsity"][2]) == pytest.approx(sparse.loss, abs=6e-4)
    held = best_size(ABNAR, 1e20, n_experts=128, memory=Memory(80e9))
    assert float(found["memory"][3]) == pytest.approx(held.loss, abs=2e-3)


def test_every_figure_can_be_drawn():
    rng = np.random.default_rng(0)
    optima = pd.DataFrame([vars(best_size(ABNAR, c, 1 / (1 - s))) for c in (1e20, 1e21) for s in (0.0, 0.9)])
    curve = pd.DataFrame(
        {"total_params": [1e9, 2e9, 1e9, 2e9], "sparsity": [0, 0, 0.9, 0.9], "loss": [2.6, 2.7, 2.4, 2.5]}
    )
    refits = pd.DataFrame(rng.uniform(1, 2, (20, 4)), columns=["A", "alpha", "beta", "E"])
    steps = pd.DataFrame(
        {"law": "a", "ratio": [2.0, 4.0], "multiplier": [1.5, 2.0], "low": [1.4, 1.8], "high": [1.6, 2.2]}
    )
    ahead = pd.DataFrame({"train_flops": [1e20, 1e21], "value": [1e9, 2e9], "low": [9e8, 1e9], "high": [2e9, 3e9]})
    ahead["sparsity"] = 0.5
    figures = {
        "isoflop": isoflop_curves(curve, optima[optima["train_flops"] == 1e20]),
        "budgets": optima_by_budget(optima),
        "sparsities": best_sparsity_curves(optima),
        "starts": objective_by_start(pd.DataFrame({"reduction": ["mean", "sum"], "ratio": [17.0, 1.0]})),
        "valley": valley(refits, refits.head(1)),
        "profile": profile_curve(pd.DataFrame({"E": [1.7, 1.8, 1.9], "rise": [4.0, 0.0, 5.0]}), "E"),
        "experts": predicted_loss_by_experts(
            pd.DataFrame({"n_experts": [1, 2], "loss": [3, 2.9], "size": "1B"}), "size"
        ),
        "gain": gain_by_size(
            pd.DataFrame({"active_params": [1e8, 1e9] * 2, "n_experts": [2, 2, 8, 8], "gain": 0.1, "panel": "a"})
        ),
        "worth": multipliers(steps),
        "worth with bands": multipliers(steps, bands=True),
        "forecast": forecast(ahead, ahead, pd.DataFrame([{"first": 1e20, "last": 3e20}])),
    }
    for name, figure in figures.items():
        assert figure.to_dict()["description"], name
        assert draw(figure).count("<path") > 3, name


def test_readable_numbers():
    table = pd.DataFrame({"n": [1234.5, 0.1], "loss": [2.34567, 2.0], "law": ["a", "b"]})
    text = readable(table, forms={"loss": "{:.2f}"})
    assert text.to_dict("list") == {"n": ["1,230", "0.1"], "loss": ["2.35", "2.00"], "law": ["a", "b"]}
    huge = pd.DataFrame({"d": [6.5e10]}, index=pd.Index([1e20], name="C"))
    assert readable(huge).to_dict() == {"d": {"1e20": "6.5e10"}}


def test_tokens_are_all_named_and_a_routed_text_breaks_between_them():
    shares = pd.DataFrame({"token": ["a", "b"], "expert": [0, 1], "share": [0.9, 0.8], "order": [0, 1]})
    axis = token_experts(shares, "Title", "Words").to_dict()["encoding"]["y"]["axis"]
    assert axis["labelOverlap"] is False, "there are fifteen pixels to a row, and the theme would leave out every other"
    assert coloured_text(["·the", "<s>"], [0, 1], 2).count("</span><wbr><span") == 1
