"""Error against loss at equal loss: does the comparison find what was put in, and doubt what chance made?"""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from howmany.downstream import compare_at_equal_loss, curve, equal_loss, pool
from howmany.figures.probe_errors import domain_distances as domain_figure
from howmany.figures.probe_errors import effects, score_by_loss
from howmany.specialisation import domain_distances
from moelaws.runs import RunTableError
from moelaws.runs.probed import PROBE_COLUMNS, read_probes

PARTS = 20
SPARSITIES = (0.0, 0.75, 0.9375, 0.984375)


def models(
    effect: float = 0.0, by_loss: float = -0.2, bend: float = 0.0, by_model: float = 0.004, by_question: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Models of known behaviour: 32 losses and sparsities, chance of each model, and of each part of the text.

    Args:
        effect: on the value, from dense to the sparsest, at equal loss.
        by_loss, bend: slope and curvature of the value in the loss.
        by_model: standard deviation of a model around the curve.
        by_question: standard deviation between parts of the effect: questions that sparse models happen to know.
        seed: of the chances.
    """
    rng = np.random.default_rng(seed)
    sparsity = np.repeat(SPARSITIES, 8)
    idle = -np.log1p(-sparsity) / -np.log1p(-max(SPARSITIES))
    loss = np.tile(np.linspace(3.6, 4.5, 8), 4) - 0.05 * idle + rng.normal(0, 0.02, 32)
    value = 0.5 + by_loss * (loss - 4) + bend * (loss - 4) ** 2 + rng.normal(0, by_model, 32)
    favours = effect + rng.normal(0, by_question, PARTS)
    parts = value[:, None] + idle[:, None] * favours + rng.normal(0, 0.04, PARTS)
    parts += rng.normal(0, 0.01, (32, PARTS))
    return pd.DataFrame(
        {
            "run": [f"run{i}" for i in range(32)], "probe": "cloze", "domain": "sotu", "metric": "accuracy",
            "value": parts.mean(1), "parts": [json.dumps(row.tolist()) for row in parts], "loss": loss,
            "sparsity": sparsity, "chance": 0.25,
        }
    )  # fmt: skip


def test_it_finds_what_was_put_in() -> None:
    found = equal_loss(models(effect=-0.05))
    assert found.low < -0.05 < found.high < 0
    assert found.by_loss_low < -0.2 < found.by_loss_high
    assert found.finding == "sparse worse"  # lower accuracy than the loss says
    assert found.penalty == pytest.approx(found.effect / found.by_loss)
    assert found.penalty_low < 0.25 < found.penalty_high
    assert equal_loss(models(effect=0.05)).finding == "sparse better"


@pytest.mark.parametrize("by_question", [0.0, 0.06])
def test_intervals_hold_the_truth_as_often_as_they_say(by_question: float) -> None:
    found = [equal_loss(models(effect=0.02, by_question=by_question, seed=seed)) for seed in range(300)]
    covered = np.mean([one.low <= 0.02 <= one.high for one in found])
    assert 0.92 <= covered <= 0.99
    widths = [one.high - one.low for one in found]
    assert np.median(widths) < 4.5 * np.std([one.effect for one in found])  # nor wider than need be


def test_chance_of_the_questions_is_seen_only_in_the_parts() -> None:
    found, blind = [], []
    for seed in range(200):
        table = models(by_question=0.06, seed=seed)
        found.append(equal_loss(table))
        blind.append(equal_loss(table.assign(parts="")))
    assert np.mean([one.finding == "no difference seen" for one in found]) > 0.92
    assert np.mean([one.finding == "no difference seen" for one in blind]) < 0.6


def test_a_bend_is_not_taken_for_sparsity() -> None:
    straight, bent = equal_loss(models(seed=3)), equal_loss(models(bend=0.3, seed=3))
    assert straight.degree == 1
    assert bent.degree >= 2
    assert bent.low <= 0 <= bent.high


def test_guesses_that_do_not_follow_the_loss_tell_nothing() -> None:
    found = [equal_loss(models(by_loss=0.0, seed=seed).assign(chance=0.5)) for seed in range(200)]
    assert 0.9 < np.mean([one.finding == "cannot tell" for one in found]) < 1
    for one in found:
        follows = not one.by_loss_low <= 0 <= one.by_loss_high
        assert (one.finding == "cannot tell") == (not follows and one.above_low <= 0)
        assert math.isnan(one.penalty) == (not follows)


def test_what_is_above_guessing_can_tell_without_following_the_loss() -> None:
    found = equal_loss(models(by_loss=0.0, effect=-0.05, seed=5))
    assert found.above == pytest.approx(0.25 - 0.05 * 0.7, abs=0.04)
    assert found.above_low > 0
    assert found.finding == "sparse worse"
    less = models(by_loss=0.0, effect=-0.05, seed=5).assign(metric="bits/byte", chance=4.0)
    assert equal_loss(less).finding == "sparse better"  # fewer bits


def test_one_row_for_each_probe_and_the_level_widens() -> None:
    tables = [models(seed=1), models(effect=0.05, seed=2).assign(probe="recall")]
    found = compare_at_equal_loss(pd.concat(tables))
    assert list(found["probe"]) == ["cloze", "recall"]
    assert list(found["runs"]) == [32, 32]
    wider = compare_at_equal_loss(pd.concat(tables), level=0.99)
    assert ((wider["high"] - wider["low"]) > 1.2 * (found["high"] - found["low"])).all()


def test_the_curve_passes_through_the_models() -> None:
    table = models(effect=-0.05, by_model=0.0, bend=0.1)
    found = equal_loss(table)
    lines = curve(table, found)
    for sparsity in (0.0, max(SPARSITIES)):
        line, own = lines[lines["sparsity"] == sparsity], table[table["sparsity"] == sparsity]
        assert np.interp(own["loss"], line["loss"], line["value"]) == pytest.approx(own["value"], abs=0.01)


def test_too_few_models_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="cloze sotu accuracy: expected at least eight models"):
        equal_loss(models().head(5))
    with pytest.raises(ValueError, match="of several losses and sparsities"):
        equal_loss(models().assign(sparsity=0.5))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "probes.csv"
    rows = models().assign(se=0.01, items=1000)
    rows.reindex(columns=list(PROBE_COLUMNS)).to_csv(path, index=False)
    return path


def runs() -> pd.DataFrame:
    table = models()
    return pd.DataFrame({"run_id": table["run"], "loss": table["loss"], "sparsity": table["sparsity"], "d_model": 16})


def test_probes_meet_their_runs(recorded: Path) -> None:
    changed = runs()
    changed.loc[3, "loss"] += 1e-12
    table = read_probes(recorded, changed)
    assert len(table) == 32
    assert (table["d_model"] == 16).all()
    assert list(np.flatnonzero(~table["equal"])) == [3]
    assert equal_loss(table).runs == 32


def test_unusable_probes_are_refused_by_row(recorded: Path) -> None:
    with pytest.raises(RunTableError, match="row 33, column 'run': the run table has no run 'run31'"):
        read_probes(recorded, runs().head(31))
    lines = recorded.read_text().splitlines(keepends=True)
    recorded.write_text("".join([*lines, lines[1].replace("0.01,0.25", "0.02,0.25")]))
    with pytest.raises(RunTableError, match="row 34 repeats an earlier run, probe, domain and metric"):
        read_probes(recorded, runs())
    recorded.write_text("".join([lines[0], lines[1].replace(",0.25,", ",,")]))
    with pytest.raises(RunTableError, match="row 2, column 'chance': expected a number"):
        read_probes(recorded, runs())


def test_a_pool_is_surer_than_its_probes_whatever_their_scales() -> None:
    # Each seed draws its own losses; a pool has one loss a model, so all its probes are drawn with one.
    table = models(effect=-0.02, seed=7).assign(n_experts=4)
    tables = []
    for number in range(6):
        rng = np.random.default_rng(number)
        parts = np.array([json.loads(text) for text in table["parts"]]) + rng.normal(0, 0.05, (32, PARTS))
        scale = (-10.0) ** number
        tables.append(
            table.assign(
                probe=f"probe{number}",
                value=scale * parts.mean(1),
                parts=[json.dumps((scale * row).tolist()) for row in parts],
            )
        )
    probes = pd.concat(tables, ignore_index=True)
    found = compare_at_equal_loss(probes)
    together = equal_loss(pool(probes, found, "all"))
    assert together.runs == 32
    assert together.by_loss == pytest.approx(1, abs=0.05)
    assert together.effect == pytest.approx(0.1, abs=0.03)  # 0.02 less accuracy at a slope of -0.2 a nat
    assert together.high - together.low < (found["penalty_high"] - found["penalty_low"]).min()


def test_a_pool_leaves_out_what_does_not_follow_the_loss_and_models_that_lack_a_probe() -> None:
    flat = models(by_loss=0.0, seed=1).assign(probe="flat", n_experts=4, chance=0.5)
    good = models(seed=1).assign(n_experts=4)
    other = good.assign(probe="other").iloc[:30]
    probes = pd.concat([flat, good, other], ignore_index=True)
    found = compare_at_equal_loss(probes)
    assert list(found["finding"] == "cannot tell") == [True, False, False]
    assert len(pool(probes, found, "all")) == 30
    assert pool(probes, found.head(1), "all").empty


def test_distances_between_domains() -> None:
    text = {"probe": "text", "run": "a", "n_experts": 4, "loss": 4.0}
    loads = {
        "sotu": [[0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]],
        "docstrings": [[0, 0, 0.5, 0.5], [0.25, 0.25, 0.5, 0]],
    }
    probes = pd.DataFrame([text | {"domain": name, "expert_load": json.dumps(load)} for name, load in loads.items()])
    dense = probes.assign(run="b", n_experts=1, expert_load="[]")
    found = domain_distances(pd.concat([probes, dense], ignore_index=True))
    assert list(found["layer"]) == [1, 2]
    assert list(found["distance"]) == pytest.approx([1.0, 0.25])
    assert set(found["run"]) == {"a"}


def test_the_figures_hold_every_model_and_say_what_they_show() -> None:
    table = models().assign(
        n_experts=lambda t: (1 / (1 - t["sparsity"])).round().astype(int), score=lambda t: t["value"]
    )
    found = equal_loss(table)
    shown = table.assign(panel="cloze, speeches", se=0.01, chance=0.25)
    lines = curve(table, found).assign(panel="cloze, speeches", score=lambda t: t["value"], n_experts=1)
    figure = score_by_loss(shown, lines, title="one error", description="what it shows").to_dict()
    data = next(iter(figure["datasets"].values()))
    assert sum(row["kind"] == "model" for row in data) == len(table)
    assert all(row["low"] < row["score"] < row["high"] for row in data if row["kind"] == "model")
    assert figure["description"] == "what it shows"
    rows = pd.DataFrame([vars(found)]).assign(panel="cloze, speeches", kind="knowing")
    forest = effects(rows, unit="u", title="t", description="d").to_dict()
    assert any("low" in row for data in forest["datasets"].values() for row in data)
    apart = pd.DataFrame({"n_experts": [4, 64], "layer": "layer 1", "distance": [0.1, 0.2], "loss": 4.0})
    assert domain_figure(apart, title="t", description="d").to_dict()["description"] == "d"
