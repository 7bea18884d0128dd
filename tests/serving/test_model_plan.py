"""Published models served: their work by hand and against our own models, uneven routing, plans and predictions."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from command_line import exit_code
from moelaws import count, plan_model
from moelaws.config import ModelConfig
from moelaws.exchange.expert_loads import LoadsError, read_loads
from moelaws.exchange.precision import PRECISIONS
from moelaws.models.layout import fields_of
from moelaws.serving import Accelerator, Machine, UnevenRouting, accelerator, node, served_config, served_count
from moelaws.serving.cost import Traffic, deploy, largest_batch
from moelaws.serving.planning.plan import PlanError
from moelaws.serving.planning.planner import plan
from moelaws.serving.roofline import decode_work, prefill_work
from moelaws.serving.step_times import predict_steps
from moelaws.serving.touched import even_experts, touched_experts
from repository import ROOT

OURS = ModelConfig(
    vocab_size=96, d_model=16, n_layers=3, n_heads=2, d_ff=40, n_experts=8, top_k=2, granularity=2, context=32,
    tied_embeddings=False, renormalize_top_k=True,
)  # fmt: skip


@pytest.mark.parametrize("work", [decode_work, prefill_work])
@pytest.mark.parametrize("tied", [False, True])
def test_one_of_our_models_is_the_same_by_either_count(work: Any, tied: bool) -> None:
    from dataclasses import replace

    model = replace(OURS, tied_embeddings=tied)
    there, here = served_count(count(fields_of(model))), served_config(model)
    for batch in (1, 7):
        assert asdict(work(there, batch, 20)) == asdict(work(here, batch, 20))


def test_work_of_shared_and_latent_caches() -> None:
    mixtral, deepseek = (served_count(count(name)) for name in ("mixtral-8x7b", "deepseek-v3"))
    work = decode_work(mixtral, 3, 1000)
    assert work.cache_bytes == 3 * 1000 * 32 * 2 * 8 * 128 * 2
    assert work.attention_flops == 3 * 1000 * 32 * 4 * 32 * 128
    work = decode_work(deepseek, 3, 1000)
    assert work.cache_bytes == 3 * 1000 * 61 * 576 * 2
    assert work.attention_flops == pytest.approx(3 * 1000 * 61 * 2 * 128 * (2 * 512 + 64))
    # A prompt is read with keys and values made of its latents.
    assert prefill_work(deepseek, 2, 100).attention_flops == pytest.approx(2 * 100 * 100 * 61 * 2 * 128 * (192 + 128))


def test_a_window_bounds_what_a_step_reads() -> None:
    model = served_count(count("gpt-oss-20b"))
    short, long = (float(decode_work(model, 1, n).cache_bytes) for n in (100, 10_000))
    assert short == 24 * 100 * 2048
    assert long == (12 * 10_000 + 12 * 128) * 2048


def test_experts_in_four_bits() -> None:
    model = served_count(count("mixtral-8x7b"))
    usual, four = (decode_work(model, 1, 100, PRECISIONS[name]) for name in ("bf16", "int4-experts"))
    assert four.expert_bytes == usual.expert_bytes / 4
    assert four.always_bytes == usual.always_bytes
    assert four.cache_bytes == usual.cache_bytes
    assert model.weight_bytes(PRECISIONS["int4-experts"]) == count("mixtral-8x7b").weight_bytes("int4-experts")


def test_routing_that_is_even_or_not() -> None:
    tokens = np.array([1.0, 8.0, 64.0])
    even = even_experts(64, 8, tokens)
    assert touched_experts(UnevenRouting(evenness=1.0), 64, 8, tokens) == pytest.approx(even)
    assert touched_experts(UnevenRouting(loads=((1 / 64,) * 64,)), 64, 8, tokens) == pytest.approx(even)
    found = [touched_experts(UnevenRouting(evenness=one), 64, 8, tokens) for one in (0.98, 0.95, 0.92)]
    assert (found[0] < even)[1:].all()
    assert (found[1] < found[0])[1:].all()
    assert found[2][0] == pytest.approx(8)  # one token reads K, however it is routed
    # Two layers, one even and one that uses half of its experts: the mean of both.
    half = tuple([1 / 32] * 32 + [0.0] * 32)
    both = UnevenRouting(loads=((1 / 64,) * 64, half))
    assert touched_experts(both, 64, 8, 8.0) == pytest.approx((even[1] + even_experts(32, 8, 8.0)) / 2)
    assert touched_experts(UnevenRouting(evenness=0.95), np.array([1.0, 64.0]), np.array([1.0, 8.0]), 8.0)[0] == 1
    with pytest.raises(ValueError, match="loads of 64 experts, for a model of 8: expected a share for each"):
        touched_experts(both, 8, 2, 4.0)
    with pytest.raises(ValueError, match="expected either loads of the experts or their evenness"):
        UnevenRouting()
    with pytest.raises(ValueError, match=r"evenness = 1.5: expected 0"):
        UnevenRouting(evenness=1.5)


def test_a_batch_fills_the_memory() -> None:
    device = Accelerator("box", 1e15, 1e12, 100e9, 1e11, 2.0)
    found = plan_model("mixtral-8x7b", serve_tokens=1e9, train_tokens=1e9, hardware=device, gpus=(1, 2))
    cached = Traffic().mean_cached * 131072
    for row in found.rows:
        assert row.batch == pytest.approx((row.gpus * 100e9 - 2 * 46_702_792_704) / cached)
        assert row.dollars_per_million == pytest.approx(row.gpus * 2.0 / 3600 / row.tokens_per_second * 1e6)
    assert found.serve_dollars == pytest.approx(found.best.dollars_per_million * 1e3)
    assert found.train_flops == count("mixtral-8x7b").training_flops_per_token() * 1e9
    assert found.train_dollars == pytest.approx(found.train_flops / (0.4e15) * 2 / 3600)
    assert largest_batch(found.deployment, served_count(count("mixtral-8x7b")), 2) == found.rows[1].batch


def test_edges_are_said() -> None:
    found = plan_model("mixtral-8x7b", hardware="h100", gpus=(1, 2))
    assert found.best.gpus == 2
    assert any("the most devices asked about (2)" in note for note in found.notes)
    assert not plan_model("mixtral-8x7b", hardware="h100", gpus=(1, 2, 4, 8)).notes
    with pytest.raises(PlanError, match=r"needs 2,053 GB .*; 8 x h100 hold 640 GB: 32 would do"):
        plan_model("kimi-k2")
    notes = plan(1e21, 1e12, "h100", ["abnar2025"], experts=(1, 2, 4)).laws[0].notes
    assert any("has the most experts asked about (4)" in note for note in notes)
    few = plan(1e24, 1e15, "h100", ["ludziejewski2025"], experts=(1, 2, 4, 8, 16, 64, 4096)).laws[0]
    assert few.best.n_experts < 4096
    assert not any("best at cost has the most experts" in note for note in few.notes)


def test_hardware_by_any_name_or_by_its_numbers() -> None:
    for name in ("RTX 4090", "rtx-4090", "NVIDIA GeForce RTX_4090"):
        assert accelerator(name).name == "rtx-4090"
    assert accelerator("MI300X").memory_bytes == 192e9
    assert accelerator("H100", bytes_per_second=2e12, dollars_per_hour=None).bytes_per_second == 2e12
    own = accelerator("own", flops_per_second=1e14, bytes_per_second=1e12, memory_bytes=24e9)
    assert (own.name, own.link_bytes_per_second) == ("own", 32e9)
    with pytest.raises(ValueError, match="hardware 'own': no memory_bytes"):
        accelerator("own", flops_per_second=1e14, bytes_per_second=1e12)
    with pytest.raises(ValueError, match=r"bytes_per_second = -1\.0, expected a number > 0"):
        accelerator("h100", bytes_per_second=-1)
    with pytest.raises(ValueError, match="hardware has no number 'watts'"):
        accelerator("h100", watts=700)
    with pytest.raises(ValueError, match=r"there are .*'h100'"):
        accelerator("h1000")


def test_predictions_are_the_rooflines() -> None:
    model = served_count(count("qwen3-30b-a3b"))
    machine = Machine(flops_per_second=1e15, bytes_per_second=1e12)
    (row,) = predict_steps(model, machine, [1], (100, 51))
    read = model.always_read + model.lookup + 8 * model.expert_params + 126 * model.kv_per_token
    assert row.decode_step_seconds == pytest.approx(2 * read / 1e12)
    assert row.reading_seconds == row.decode_step_seconds
    assert row.experts_touched == 8
    uneven = predict_steps(model, machine, [64], routing=UnevenRouting(evenness=0.9))
    assert uneven[0].decode_step_seconds < predict_steps(model, machine, [64])[0].decode_step_seconds
    two = predict_steps(model, node(accelerator("h100"), 2), [1])[0].decode_step_seconds
    assert two < predict_steps(model, node(accelerator("h100")), [1])[0].decode_step_seconds


def _schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "data" / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return found


@pytest.mark.parametrize(
    ("schema", "line"),
    [
        ("model_plan", ["plan", "--model", "mixtral-8x7b", "--serve-tokens", "1e9", "--hardware", "b200"]),
        ("model_plan", ["plan", "--model", "kimi-k2", "--precision", "int4-experts", "--gpus", "16"]),
        ("plan", ["plan", "--train-flops", "1e21", "--serve-tokens", "1e10", "--experts", "1,8"]),
        ("prediction", ["measure", "deepseek-v3", "--predict", "--batch", "1,64", "--gpus", "16"]),
        ("prediction", ["measure", "tiny:d=64,E=8", "--predict", "--timings", f"{ROOT}/data/timings/cpu.csv"]),
        ("count", ["count", "olmoe", "gpt-oss-20b", "--context", "1,8192"]),
    ],
)  # fmt: skip
def test_files_are_what_their_schemas_say(schema: str, line: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert exit_code([*line, "--json", str(out)]) == 0
    written = json.loads(out.read_text())
    jsonschema.validate(written, _schema(schema))
    for name in written:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in written.items() if key != name}, _schema(schema))
    assert exit_code([*line, "--json", str(out)]) == 0  # it knows its own


def test_what_the_commands_print(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["plan", "--model", "mixtral-8x7b", "--serve-tokens", "1e12", "--train-tokens", "1e12"]) == 0
    said = capsys.readouterr().out
    assert "        1  does not fit" in said
    assert "1e+12 tokens to train on, at a context of 4096: 8.29e+22 FLOPs" in said
    own = ["--hardware", "own", "--flops", "1e14", "--bandwidth", "1e12", "--memory-gb", "24"]
    assert exit_code(["measure", "qwen3-30b-a3b", "--predict", "--batch", "1", *own]) == 0
    assert "note: the weights alone take 61.06 GB of the 24 GB there are" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["plan"], "expected --train-flops C, or --model with a published model"),
        (["plan", "--model", "mixtral", "--train-flops", "1e21"], "--train-flops: with --model it is --train-tokens"),
        (["plan", "--model", "mixtral", "--experts", "1,2"], "--experts: is for a plan under laws"),
        (["plan", "--train-flops", "1e21", "--train-tokens", "1e9"], "--train-tokens: goes with --model"),
        (["plan", "--model", "jamba-1.5-mini"], "jamba: a hybrid"),
        (["plan", "--model", "mixtral", "--hardware", "own"], "hardware 'own': no flops_per_second"),
        (["plan", "--model", "mixtral", "--evenness", "0.1"], "loads one expert with"),
        (["plan", "--model", "mixtral", "--loads", "absent.csv"], "absent.csv: no such file"),
        (["measure", "tiny:d=16", "--hardware", "h100"], "--hardware: goes with --predict"),
        (["measure", "--predict"], "--predict: name a model"),
        (["measure", "mixtral", "--predict", "--calibrate"], "--calibrate: is for measuring"),
        (["measure", "mixtral", "--predict", "--timings", f"{ROOT}/data/timings/cpu.csv", "--flops", "1e12"],
         "--flops: the machine is the one that made the --timings"),
    ],
)  # fmt: skip
def test_refusals(line: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(line) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert len(said.err) <= 400


def test_loads_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "loads.txt"
    for text in (
        "3,1\n2,2\n",
        "3;1\n2;2",
        "3\t1\n2\t2\n",
        "[[3, 1], [2, 2]]",
        '{"expert_load": [[0.75, 0.25], [1, 1]]}',
    ):
        file.write_text(text)
        assert read_loads(file) == ((0.75, 0.25), (0.5, 0.5))
    file.write_text("[3, 1]")
    assert read_loads(file) == ((0.75, 0.25),)
    file.write_text("\n".join(["4,1,1,1,1,1,1,1"] * 2))
    assert exit_code(["measure", "mixtral", "--predict", "--batch", "4", "--loads", str(file)]) == 0
    touched = 1 - (1 - 2 * 4 / 11) ** 4 + 7 * (1 - (1 - 2 / 11) ** 4)  # less than the 5.5 of even routing
    assert f"{touched:17.1f}" in capsys.readouterr().out
    for text, message in (
        ("", "no rows"), ("1,x", "load 'x': expected a number >= 0"), ("1,2\n3", "row 2: found 1, expected 2 loads"),
        ("0,0", "all loads are 0"), ("1,-1", "load '-1'"), ("[[1], 2]", "row 2: found 2, expected 1 loads"),
        ("[1, true]", "load True"), ("{", "not JSON"), ("{}", "expected a list of loads"), ("1,nan", "load 'nan'"),
        ("[" * 100_000, "not JSON"),
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(LoadsError, match=r"loads\.txt: ") as said:
            read_loads(file)
        assert message in str(said.value)
    with pytest.raises(LoadsError, match="no such file"):
        read_loads(tmp_path)


def test_a_deployment_of_ones_own_keeps_its_precision() -> None:
    where = deploy(accelerator("h200"), (2,), bytes_per_value=PRECISIONS["fp8"], rule=UnevenRouting(evenness=0.9))
    found = plan_model("qwen3-235b-a22b", hardware=where)
    assert found.best.memory_gb == pytest.approx(235.09, abs=0.01)
    assert found.best.gpus == 2
