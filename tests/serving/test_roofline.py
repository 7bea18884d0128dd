"""Work and time of a step: against the counts of the library, against sums by hand, and shapes and hardware."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from moelaws.config import ModelConfig
from moelaws.counting import (
    count_parameters,
    decode_weight_bytes,
    forward_flops_per_token,
    kv_bytes_per_token,
)
from moelaws.optimum.family import alternating, proportional, switch
from moelaws.serving.hardware import ACCELERATORS, Efficiency, accelerator, node
from moelaws.serving.roofline import Machine, decode_work, prefill_work, step_seconds
from moelaws.serving.served import served_config, served_family
from moelaws.serving.shape import PUBLIC_MODELS, SHAPE, ShapeRule, fit_shape
from repository import ROOT

MODELS = [
    ModelConfig(),
    ModelConfig(n_experts=16, top_k=2, granularity=2),
    ModelConfig(n_experts=8, tied_embeddings=False, n_layers=3),
    ModelConfig(n_experts=8, shared_experts=2, granularity=4),
    ModelConfig(n_experts=8, moe_every=2, n_layers=4, token_shift=True),
]
NAMES = ["dense", "routed", "untied", "shared", "every other layer"]


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_work_of_a_decode_step_is_what_the_counts_say(model, batch):
    work = decode_work(served_config(model), batch, model.context, bytes_per_value=4)
    assert work.always_bytes + work.expert_bytes == pytest.approx(decode_weight_bytes(model, batch, 4), rel=1e-12)
    assert work.flops == pytest.approx(batch * forward_flops_per_token(model), rel=1e-12)
    assert work.cache_bytes == pytest.approx(batch * model.context * kv_bytes_per_token(model, 4), rel=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_work_of_a_prefill_is_that_of_its_tokens(model):
    work = prefill_work(served_config(model), 3, model.context)
    assert work.flops == pytest.approx(3 * model.context * forward_flops_per_token(model), rel=1e-12)
    assert work.rows == 3 * model.context


def test_rules_of_thumb_read_more_or_less():
    model = served_config(ModelConfig(n_experts=16, top_k=2))
    read = {rule: float(decode_work(model, 4, 128, 2, rule).expert_bytes) for rule in ("active", "distinct", "total")}
    assert read["active"] < read["distinct"] < read["total"]
    assert read["total"] == pytest.approx(8 * read["active"])
    assert float(decode_work(model, 4, 128, 2, 5.0).expert_bytes) == pytest.approx(2.5 * read["active"])


def test_a_family_needs_n_and_n_a_only():
    family, shape = switch(), ShapeRule(mu=0.04, aspect=100.0)
    model = served_family(family, 2048.0, 8, 1, shape)
    layers = 2048 / 64
    assert model.expert_params == pytest.approx(9 * 2048**2 * layers)
    assert model.always_read == pytest.approx(2 * 2048 * 50257 + 4 * 2048**2 * layers)
    assert model.kv_per_token == pytest.approx(2 * 2048 * layers)  # the family's own cache
    dense = served_family(proportional(), 1e9, 1, 1, shape)
    assert dense.always_read == pytest.approx(1e9)
    assert dense.expert_params == 0
    assert dense.kv_per_token == pytest.approx(2 * 0.04 * 1e6)  # 1e9^(2/3) = 1e6
    assert (dense.width, dense.layers) == pytest.approx((2000, 20))


def test_the_paper_s_total_size():
    # (1 + (E - 1) / 3) N, every second layer a mixture.
    model = served_family(alternating(), 6e9, 16, 2, SHAPE, expert_share=0.5)
    assert model.total_params == pytest.approx(36e9)
    assert model.active_params == pytest.approx(8e9)
    assert model.expert_params == pytest.approx(2e9)
    assert model.expert_layers == pytest.approx(model.layers / 2)


def test_arrays_of_sizes_are_their_elements():
    sizes = np.array([1e8, 1e9, 1e10])
    many = decode_work(served_family(alternating(), sizes, 8, 2, SHAPE, 0.5), 32, 300)
    machine = node(accelerator("h100"), 2)
    alone = [
        step_seconds(machine, decode_work(served_family(alternating(), n, 8, 2, SHAPE, 0.5), 32, 300)) for n in sizes
    ]
    assert step_seconds(machine, many) == pytest.approx(alone, rel=1e-12)


def test_a_step_by_hand():
    work = decode_work(served_config(ModelConfig(n_experts=4, n_layers=2, d_model=64)), 10, 50, 2)
    machine = Machine(
        flops_per_second=1e9, bytes_per_second=1e9, cache_slowdown=3.0, resident_bytes=1e4,
        resident_bytes_per_second=1e10, row_bytes_per_second=2e9, routed_row_bytes_per_second=4e9, overlap=1.0,
        seconds_per_step=1.0, seconds_per_layer=0.1, seconds_per_routed_layer=0.01, seconds_per_expert=0.001,
        seconds_per_row=0.002,
    )  # fmt: skip
    p = count_parameters(ModelConfig(n_experts=4, n_layers=2, d_model=64))
    matrices = p.attention + p.router + p.embedding
    touched = 4 * (1 - 0.75**10)
    # Of what a step reads 1e4 bytes come ten times as fast, of experts that share of all that is stored.
    cached = 2 * 10 * 50 * 256
    share = 1e4 / (2 * (matrices + p.norms) + 2 * touched * p.experts / 4 + cached)
    of_experts = 1e4 / (2 * p.total + cached)
    always = max(2 * 10 * matrices, 2 * (matrices + p.norms) * (1 - 0.9 * share))
    experts = max(2 * 10 * p.experts / 4, 2 * touched * p.experts / 4 * (1 - 0.9 * of_experts))
    cache = max(2 * 10 * 50 * 256, 3 * cached * (1 - 0.9 * share))
    # Per row and layer: 24 x 64 for attention, 4 x 64 + 8 x 256 for the one expert; two bytes each.
    rows = 2 * 10 * 2 * (24 * 64 / 2 + (4 * 64 + 8 * 256) / 4)
    overhead = 1 + 0.2 + 2 * (0.01 + 0.001 * touched) + 0.002 * 10
    assert step_seconds(machine, work) == pytest.approx((always + experts + cache + rows) / 1e9 + overhead, rel=1e-12)


def test_overlap_goes_from_the_sum_to_the_longer():
    work = decode_work(served_config(ModelConfig(n_experts=4)), 10, 50)
    times = [float(step_seconds(Machine(1e9, 1e9, overlap=o), work)) for o in (0.0, 0.5, 1.0)]
    assert times[0] == pytest.approx((work.flops + work.bytes) / 1e9)
    assert times[1] == pytest.approx((times[0] + times[2]) / 2)
    assert times[2] < times[0]


def test_all_reduces_by_hand():
    machine = Machine(np.inf, np.inf, gpus=4, link_bytes_per_second=1e9, link_seconds=1e-3)
    work = decode_work(served_config(ModelConfig(n_layers=3, d_model=64)), 10, 50, 2)
    each = 1e-3 + 2 * 3 / 4 * 10 * 64 * 2 / 1e9
    assert step_seconds(machine, work) == pytest.approx(2 * 3 * each)
    assert step_seconds(replace(machine, gpus=1), work) == 0


def test_machines_that_cannot_be():
    with pytest.raises(ValueError, match="bytes_per_second = 0, expected a number > 0"):
        Machine(1e9, 0)
    with pytest.raises(ValueError, match=r"overlap = 1.5, expected 0 to 1"):
        Machine(1e9, 1e9, overlap=1.5)
    with pytest.raises(ValueError, match="training = 0, expected a share"):
        Efficiency(training=0)
    with pytest.raises(ValueError, match="no hardware 'tpu'; there are 'a100-40gb'"):
        accelerator("tpu")
    with pytest.raises(ValueError, match="gpus = 0"):
        node(accelerator("h100"), 0)


def test_a_node_shares_layers():
    one, eight = (node(accelerator("a100-40gb"), g) for g in (1, 8))
    assert one.bytes_per_second == pytest.approx(0.8 * 1555e9)
    assert eight.flops_per_second == pytest.approx(8 * 0.6 * 312e12)
    assert one.gpus == 1


def test_presets_and_shapes_are_the_published_tables():
    with (ROOT / "data/published/hardware.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(ACCELERATORS)
    for row in rows:
        preset = vars(ACCELERATORS[row["name"]])
        assert {k: float(row[k]) for k in row if k not in ("name", "tag", "source", "note")} == {
            k: v for k, v in preset.items() if k not in ("name", "source")
        }
        assert row["source"] == preset["source"]
    with (ROOT / "data/published/model_shapes.csv").open(newline="") as file:
        shapes = [(r["name"], float(r["params"]), int(r["layers"]), int(r["width"])) for r in csv.DictReader(file)]
    assert shapes == [(m.name, m.params, m.layers, m.width) for m in PUBLIC_MODELS]


def test_the_shape_rule():
    fitted = fit_shape()
    assert 0.035 < fitted.rule.mu < 0.042
    assert abs(fitted.exponent - 2 / 3) < 0.05  # what Yun et al. assume, and do not print
    assert fitted.spread < 0.15
    rule = ShapeRule(0.04, 64.0)
    assert rule.width(1e9) * rule.layers(1e9) == pytest.approx(0.04 * 1e6)
    assert rule.width(1e9) / rule.layers(1e9) == pytest.approx(64)
    with pytest.raises(ValueError, match="at least two models"):
        fit_shape(PUBLIC_MODELS[:1])
