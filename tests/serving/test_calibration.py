"""Calibration: the constants of a machine that is known, noise, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from known_machine import TRUTH, grid, timed
from moelaws.config import ModelConfig
from moelaws.runs.timings import TimingError, configurations, model_of, read_timings
from moelaws.serving.calibration import Errors, bare_rule, calibrate, works


def test_constants_of_a_known_machine_come_back():
    found = calibrate(timed(0.0))
    assert found.held_out.p90 < 1e-3
    for name, value in vars(TRUTH).items():
        if name not in ("gpus", "link_bytes_per_second", "link_seconds"):
            assert getattr(found.machine, name) == pytest.approx(value, rel=0.02), name


def test_what_overlaps_and_what_stays_in_the_processors_cache_is_found():
    for overlap, resident, near in ((1.0, 0.0, np.inf), (0.0, 4e6, 5e10), (1.0, 4e6, 5e10)):
        truth = replace(TRUTH, overlap=overlap, resident_bytes=resident, resident_bytes_per_second=near)
        found = calibrate(timed(0.02, truth)).machine
        assert (found.overlap, found.resident_bytes) == (overlap, resident)
        assert found.bytes_per_second == pytest.approx(truth.bytes_per_second, rel=0.1)
        assert found.resident_bytes_per_second == pytest.approx(near, rel=0.2)


def test_a_table_of_one_depth_gives_all_overhead_to_the_layers():
    table = timed(0.0)
    found = calibrate(table[table["n_layers"] == 2].reset_index(drop=True))
    assert found.machine.seconds_per_step == 0
    assert found.machine.seconds_per_layer == pytest.approx(
        TRUTH.seconds_per_layer + TRUTH.seconds_per_step / 2, rel=0.02
    )
    assert found.held_out.p90 < 1e-3


def test_noise_and_disturbed_timings_leave_the_machine_as_it_is():
    table = timed(0.05)
    table.loc[::37, "decode_step_seconds"] *= 4  # somebody else used the processor
    found = calibrate(table)
    assert found.held_out.median < 0.06
    assert found.machine.bytes_per_second == pytest.approx(TRUTH.bytes_per_second, rel=0.1)
    assert found.machine.seconds_per_layer == pytest.approx(TRUTH.seconds_per_layer, rel=0.1)


def test_rules_of_thumb_are_further_off_even_with_constants_of_their_own():
    table = timed(0.05)
    median = {rule: calibrate(table, rule=rule).held_out.median for rule in ("distinct", "total", "active")}
    assert median["distinct"] < 0.6 * min(median["total"], median["active"])
    assert bare_rule(table, "distinct").median > 3 * median["distinct"]


def test_measured_experts_are_used_where_they_are_given():
    table = grid().head(40)
    fewer = table.assign(experts_touched=np.where(table["n_experts"] > 1, 1.5, np.nan))
    assert (works(fewer, "decode").experts_touched[table["n_experts"] > 1] == 1.5).all()
    assert (works(fewer, "decode", "total").experts_touched == table["n_experts"]).all()


def test_prefill_is_calibrated_too():
    found = calibrate(timed(0.02), "prefill")
    assert found.held_out.median < 0.03


def test_held_out_means_held_out():
    # One configuration is timed wrongly by a factor of three: a fit that had seen it would come nearer.
    table = timed(0.0)
    odd = configurations(table) == 5
    table.loc[odd, "decode_step_seconds"] *= 3
    predicted = calibrate(table).predicted
    assert np.median(predicted[odd] / table.loc[odd, "decode_step_seconds"]) == pytest.approx(1 / 3, rel=0.05)


def test_too_few_timings_are_refused():
    with pytest.raises(ValueError, match="a calibration needs 22 timings of 3 configurations, found 10 of 1"):
        calibrate(timed(0.0).head(10))


def test_errors():
    found = Errors.of(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 2.0]))
    assert (found.median, found.n) == (0.5, 3)


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(n_experts=8, moe_every=2),
        ModelConfig(n_experts=8, granularity=2, shared_experts=1),
        ModelConfig(token_shift=True),
        ModelConfig(n_experts=8, top_k=2, renormalize_top_k=True, qk_norm=False, rope_theta=5e5),
    ],
)
def test_every_field_of_a_model_comes_back_from_its_row(model, tmp_path):
    path = tmp_path / "timings.csv"
    measured = {"batch": 1, "prompt_tokens": 8, "new_tokens": 4, "prefill_seconds": 1.0, "decode_step_seconds": 1.0}
    pd.DataFrame([vars(ModelConfig()) | measured, vars(model) | measured]).to_csv(path, index=False)
    table = read_timings(path)
    assert model_of(table.iloc[1]) == model
    assert configurations(table).tolist() == [0, 1]  # held out apart from the other


def test_a_timing_table_is_read_and_checked(tmp_path):
    path = tmp_path / "timings.csv"
    table = timed(0.0).assign(tied_embeddings="False", machine="a laptop")
    table.to_csv(path, index=False)
    read = read_timings(path)
    assert len(read) == len(table)
    assert configurations(read).max() == 47
    assert model_of(read.iloc[30]) == ModelConfig(
        d_model=32, n_layers=1, n_experts=64, top_k=2, d_ff=128, tied_embeddings=False
    )
    table.loc[3, "prefill_seconds"] = 0.0
    table.to_csv(path, index=False)
    with pytest.raises(
        TimingError, match=r"timings.csv: row 5, column 'prefill_seconds': found 0.0, expected a number"
    ):
        read_timings(path)
    table.drop(columns="batch").to_csv(path, index=False)
    with pytest.raises(ValueError, match="no column 'batch'"):
        read_timings(path)
