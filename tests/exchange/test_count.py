"""Counts of published models held to transformers: parameters on the meta device, FLOPs and cache of tiny models."""

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from command_line import exit_code
from moelaws import count
from moelaws.exchange.config_fields import ConfigFileError
from moelaws.exchange.families import FAMILIES
from moelaws.exchange.published_models import PUBLISHED, find_published, published_names, table
from repository import ROOT, TESTS

CASES = TESTS / "cases" / "hf_configs"
GIANT = 10**400

# Widths that tell rows from columns; each family's fields may be any of those listed.
COMMON: dict[str, tuple[Any, ...]] = {
    "vocab_size": (96, 101), "hidden_size": (48, 96), "num_hidden_layers": (1, 4, 7), "intermediate_size": (40, 56),
    "num_attention_heads": (4, 12), "tie_word_embeddings": (False, True),
}  # fmt: skip
GROUPED: dict[str, tuple[Any, ...]] = COMMON | {"num_key_value_heads": (1, 2, 4), "head_dim": (8, 20)}
ROUTED: dict[str, tuple[Any, ...]] = {"num_experts_per_tok": (1, 3), "num_local_experts": (3, 8)}
LEADING: dict[str, tuple[Any, ...]] = {
    "n_routed_experts": (4, 8), "num_experts_per_tok": (1, 3), "moe_intermediate_size": (12, 20),
    "n_shared_experts": (1, 2), "first_k_dense_replace": (0, 1, 3, 9), "n_group": (1,), "topk_group": (1,),
    "moe_layer_freq": (1, 2),
}  # fmt: skip
QWEN: dict[str, tuple[Any, ...]] = {
    "num_experts": (4, 8), "num_experts_per_tok": (1, 3), "moe_intermediate_size": (12, 20),
    "decoder_sparse_step": (1, 2, 3), "mlp_only_layers": (None, [], [0], [1, 3, 50]),
    "use_sliding_window": (False, True), "sliding_window": (None, 5), "max_window_layers": (0, 2),
}  # fmt: skip
LATENT: dict[str, tuple[Any, ...]] = COMMON | {
    "q_lora_rank": (None, 24), "kv_lora_rank": (16,), "qk_nope_head_dim": (8,), "qk_rope_head_dim": (4, 6),
    "v_head_dim": (10,), "attention_bias": (False, True),
}  # fmt: skip
BIASED: dict[str, tuple[Any, ...]] = {"attention_bias": (False, True)}
FIELDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "olmoe": COMMON | BIASED | {
        "num_key_value_heads": (None, 1, 2), "num_experts": (1, 8), "num_experts_per_tok": (1,)},
    "mixtral": GROUPED | ROUTED | {"sliding_window": (None, 5)},
    "qwen2_moe": COMMON | QWEN | {
        "num_key_value_heads": (1, 4), "qkv_bias": (True, False), "shared_expert_intermediate_size": (28, 60)},
    "qwen3_moe": GROUPED | QWEN | BIASED,
    "deepseek_v2": LATENT | LEADING | {"mlp_bias": (False, True)},
    "deepseek_v3": LATENT | LEADING,
    "gpt_oss": GROUPED | ROUTED | {"attention_bias": (True, False), "sliding_window": (5,)},
    "glm4_moe": GROUPED | LEADING | BIASED | {"use_qk_norm": (False, True)},
    "glm4_moe_lite": LATENT | {key: LEADING[key] for key in LEADING if key != "first_k_dense_replace"},
    "llama4_text": GROUPED | ROUTED | BIASED | {
        "intermediate_size_mlp": (72,), "interleave_moe_layer_step": (1, 2, 3), "moe_layers": (None, None, [0, 2]),
        "attention_chunk_size": (6,), "no_rope_layer_interval": (2, 4), "num_experts_per_tok": (1,)},
    "granitemoe": COMMON | ROUTED | BIASED | {"num_key_value_heads": (None, 2)},
    "granitemoeshared": COMMON | ROUTED | BIASED | {"shared_intermediate_size": (0, 36)},
    "phimoe": COMMON | ROUTED | BIASED | {"num_key_value_heads": (1, 4), "lm_head_bias": (False, True)},
    "minimax_m2": GROUPED | ROUTED,
    "dots1": GROUPED | LEADING | BIASED | {"sliding_window": (None, 5), "max_window_layers": (0, 2)},
    "llama": GROUPED | BIASED | {"mlp_bias": (False, True)},
    "mistral": GROUPED | {"sliding_window": (None, 5)},
    "qwen2": COMMON | {"num_key_value_heads": (1, 4), "use_sliding_window": (True,), "max_window_layers": (0, 2)},
    "qwen3": GROUPED | BIASED,
}  # fmt: skip


def _drawn(family: str, number: int) -> dict[str, Any]:
    """Fields of a model of a family; the first leaves out what the family has a default for."""
    rng = random.Random(f"{family} {number}")
    fields = {name: rng.choice(values) for name, values in FIELDS[family].items()}
    if number == 0:
        for name in ("num_key_value_heads", "head_dim", "tie_word_embeddings", "attention_bias"):
            fields.pop(name, None)
        if family not in ("olmoe", "granitemoe", "granitemoeshared", "llama", "deepseek_v2", "deepseek_v3"):
            fields["num_attention_heads"], fields["hidden_size"] = 32, 96  # what the default's number divides
    return {"model_type": family} | fields


def _theirs(fields: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(**fields)


def _total(config: Any) -> int:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(one.numel() for one in model.parameters())


@pytest.mark.parametrize("number", [*range(3), *(pytest.param(n, marks=pytest.mark.validate) for n in range(3, 8))])
@pytest.mark.parametrize("family", FIELDS)
def test_totals_are_those_of_transformers(family: str, number: int) -> None:
    fields = _drawn(family, number)
    assert count(fields).total_params == _total(_theirs(fields)), fields


def test_every_family_is_held_to_transformers() -> None:
    # The others are another name, a wrapper, and the OLMoE layout with a router of our own.
    assert set(FAMILIES) - set(FIELDS) == {"kimi_k2", "llama4", "moelaws"}
    fields = _drawn("llama4_text", 3)
    inner = count({"model_type": "llama4", "text_config": fields, "vision_config": {}})
    assert inner.total_params == count(fields).total_params
    assert any("language model alone" in note for note in inner.architecture.notes)


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_published_models_are_those_of_transformers(model: Any) -> None:
    fields = dict(model.config)
    fields["model_type"] = {"kimi_k2": "deepseek_v3"}.get(fields["model_type"], fields["model_type"])
    assert count(model.name).total_params == _total(_theirs(fields))


# What their makers print, in parameters or billions: total and, where they give it, active.
PRINTED = {
    "olmoe-1b-7b": (6.9e9, 1.3e9), "mixtral-8x7b": (46.7e9, 12.9e9), "mixtral-8x22b": (141e9, 39e9),
    "qwen1.5-moe-a2.7b": (14.3e9, 2.7e9), "qwen2-57b-a14b": (57.4e9, 14.2e9), "qwen3-30b-a3b": (30.5e9, 3.3e9),
    "qwen3-235b-a22b": (235e9, 22e9), "qwen3-coder-480b-a35b": (480e9, 35e9), "deepseek-v2-lite": (15.7e9, 2.4e9),
    "deepseek-v2": (236e9, 21e9), "deepseek-v3": (671e9, 37e9), "kimi-k2": (1.04e12, 32e9),
    "gpt-oss-20b": (20.9e9, 3.6e9), "gpt-oss-120b": (116.8e9, 5.1e9), "glm-4.5": (355e9, 32e9),
    "glm-4.5-air": (106e9, 12e9), "llama-4-scout": (109e9, 17e9), "llama-4-maverick": (400e9, 17e9),
    "granite-3.0-1b-a400m": (1.33e9, 0.4e9), "granite-3.0-3b-a800m": (3.37e9, 0.8e9),
    "llama-3.1-8b": (8_030_261_248, None),
    "llama-3.1-70b": (70_553_706_496, None), "mistral-7b": (7_241_732_096, None), "qwen2.5-7b": (7_615_616_512, None),
    "qwen3-8b": (8_190_735_360, None),
}  # fmt: skip


@pytest.mark.parametrize("name", PRINTED)
def test_published_models_are_as_large_as_their_makers_say(name: str) -> None:
    total, active = PRINTED[name]
    found = count(name)
    # Makers round, count images' encoders or leave embeddings out of what is active.
    assert found.total_params == pytest.approx(total, rel=1e-9 if isinstance(total, int) else 0.025)
    if active:
        embeddings = found.parameters.embedding + found.parameters.unembedding
        low = found.active_params - embeddings
        assert low * 0.95 <= active <= found.active_params * 1.13


def test_every_published_model_is_looked_at() -> None:
    assert {found.name for name in PRINTED if (found := find_published(name))} == set(published_names())


RIGHT = {
    "olmoe-1b-7b": (6_919_161_856, 1_282_017_280, 131072),
    "mixtral-8x7b": (46_702_792_704, 12_879_925_248, 131072),
    "qwen3-30b-a3b": (30_532_122_624, 3_353_032_704, 98304),
    "deepseek-v3": (671_026_404_352, 37_552_282_624, 70272),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("how", ["file", "folder", "name"])
def test_the_case_has_its_right_answers(name: str, how: str) -> None:
    found = count({"file": CASES / name / "config.json", "folder": str(CASES / name), "name": name.upper()}[how])
    assert (found.total_params, found.active_params, found.kv_bytes_per_token()) == RIGHT[name]
    if how != "name":
        assert found.name == name


def test_caches_by_hand() -> None:
    oss = count("openai/gpt-oss-20b")  # half of 24 layers keep 128 tokens; 8 heads of 64, keys and values, bf16
    assert oss.kv_bytes(100) == 24 * 100 * 2 * 8 * 64 * 2
    assert oss.kv_bytes(10_000) == (12 * 10_000 + 12 * 128) * 2 * 8 * 64 * 2
    scout = count("llama-4-scout")  # every fourth of 48 layers sees all
    assert scout.kv_bytes(100_000) == (12 * 100_000 + 36 * 8192) * 2 * 8 * 128 * 2
    assert count("deepseek-v3").kv_bytes(1000, 1) == 61 * 1000 * (512 + 64)
    assert count("mistral-7b").kv_bytes(50_000) == count("mistral-7b").kv_bytes(4096)


def test_weights_by_precision() -> None:
    found = count("mixtral-8x7b")
    experts = 32 * 8 * 3 * 4096 * 14336
    assert found.weight_bytes() == 2 * found.total_params
    assert found.weight_bytes("fp8") == found.total_params
    assert found.weight_bytes("int4-experts") == 2 * (found.total_params - experts) + experts / 2


TINY = {
    "llama": {}, "mistral": {"sliding_window": 5}, "gpt_oss": {"sliding_window": 5, "num_hidden_layers": 4},
    "mixtral": {"sliding_window": None}, "qwen3_moe": {"mlp_only_layers": [0], "num_hidden_layers": 4},
    "deepseek_v3": {"num_key_value_heads": None, "q_lora_rank": 24, "first_k_dense_replace": 1, "num_hidden_layers": 4},
    "glm4_moe": {}, "granitemoe": {}, "qwen2_moe": {"use_sliding_window": False},
}  # fmt: skip


def _tiny(family: str) -> tuple[dict[str, Any], Any]:
    from transformers import AutoModelForCausalLM

    fields = _drawn(family, 1) | {"max_position_embeddings": 64} | TINY[family]
    torch.manual_seed(0)
    config = _theirs(fields)
    config._attn_implementation = "eager"
    return fields, AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("family", sorted(set(TINY) - {"deepseek_v3"}))
def test_caches_are_those_of_transformers(family: str) -> None:
    fields, model = _tiny(family)
    found, length = count(fields), 12
    with torch.inference_mode():
        cache = model(torch.arange(length)[None], use_cache=True).past_key_values
    held = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    built = found.architecture
    # They keep one token less of a window: the newest is put beside it for the step alone.
    newest = built.windowed_layers * built.attention.cached
    assert held == found.kv_bytes(length, 1) - newest


@pytest.mark.parametrize("family", TINY)
def test_flops_are_those_of_transformers(family: str) -> None:
    fields, model = _tiny(family)
    model.set_experts_implementation("eager")
    length = 4  # shorter than any window: they multiply what the window hides as well
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        model(torch.arange(length)[None], use_cache=False)
    assert counted.get_total_flops() == length * count(fields).training_flops_per_token(length) // 3


def _wrong() -> Iterator[tuple[str, dict[str, Any], str]]:
    mixtral = json.loads((CASES / "mixtral-8x7b" / "config.json").read_text())
    yield "a giant", mixtral | {"hidden_size": GIANT}, "'hidden_size': expected a whole number"
    yield "negative", mixtral | {"num_hidden_layers": -3}, "'num_hidden_layers': expected a whole number from 1"
    yield "text", mixtral | {"vocab_size": "many"}, "'vocab_size': expected a whole number"
    yield "a half", mixtral | {"num_local_experts": 8.5}, "'num_local_experts': expected a whole number"
    yield "true", mixtral | {"num_experts_per_tok": True}, "'num_experts_per_tok': expected a whole number"
    yield "too many layers", mixtral | {"num_hidden_layers": 10**9}, "from 1 to 10000"
    yield "more chosen than there are", mixtral | {"num_experts_per_tok": 9}, "at most the number of experts, 8"
    yield "heads that do not share", mixtral | {"num_key_value_heads": 5}, "a divisor of num_attention_heads = 32"
    yield "no width of a head", mixtral | {"hidden_size": 16}, "at most hidden_size = 16"
    yield "no field", {key: value for key, value in mixtral.items() if key != "hidden_size"}, "no field 'hidden_size'"
    yield "words for yes", mixtral | {"tie_word_embeddings": "yes"}, "expected true or false"
    yield "jamba", mixtral | {"model_type": "jamba"}, "a hybrid"
    yield "granite's hybrid", mixtral | {"model_type": "granitemoehybrid"}, "a hybrid"
    yield "another", mixtral | {"model_type": "bert"}, "model_type = 'bert': counted are olmoe, "
    yield "nothing", {}, "model_type = nothing"
    yield "a list", mixtral | {"model_type": ["mixtral"]}, "model_type = a list"
    oss = dict(PUBLISHED[12].config)
    yield "too few kinds", oss | {"layer_types": ["full_attention"]}, "expected num_hidden_layers = 24 words"
    yield "a linear layer", oss | {"layer_types": ["linear_attention"] * 24}, "such a layer is not counted"
    yield "numbers for kinds", oss | {"layer_types": [1] * 24}, "expected a list of words, found 1 in it"
    qwen = json.loads((CASES / "qwen3-30b-a3b" / "config.json").read_text())
    yield "a word for layers", qwen | {"mlp_only_layers": "all"}, "a list of at most 10000 whole numbers"


WRONG = {name: (fields, message) for name, fields, message in _wrong()}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_field_is_named(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields, message = WRONG[name]
    with pytest.raises(ConfigFileError, match=r"config: "):
        count(fields)
    (tmp_path / "config.json").write_text(json.dumps(fields))
    _refused([str(tmp_path)], message, capsys)


def _refused(models: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["count", *models]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert len(said.err) <= 400
    assert message in said.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "expected a JSON object, found a list"),
        ("[" * 100_000, "not JSON"),
        ('{"model_type": "mixtral", "hidden_size": NaN}', "NaN is no number of JSON"),
        ("", "not JSON"),
        ('{"text_config": ' * 2000 + "{}" + "}" * 2000, "nested too deeply"),
    ],
    ids=["list", "deep list", "nan", "empty", "deep"],
)  # fmt: skip
def test_hostile_files(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(text)
    _refused([str(tmp_path / "config.json")], message, capsys)


@pytest.mark.parametrize("name", ["", " ", "no-model", "x" * 5000, "\x1b[31m", "mixtral\0", "missing/config.json"])
def test_what_is_no_model(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _refused([name], "cannot be read" if "config" in name else "published model", capsys)


def test_near_names_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    _refused(["mixtral-8x9b"], "mixtral-8x7b-v0.1", capsys)
    _refused(["ai21labs/Jamba-v0.1"], "jamba: a hybrid", capsys)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "counts.json"
    assert (
        exit_code(["count", "Qwen/Qwen3-30B-A3B-Instruct", "kimi-k2", "--context", "1,4096", "--json", str(out)]) == 0
    )
    said = capsys.readouterr().out
    assert "30,532,122,624 total" in said
    assert "61 layers of width 7168, 60 of them with 384 experts, 8 for a token and shared ones" in said
    written = json.loads(out.read_text())
    schema = json.loads((ROOT / "data" / "count.schema.json").read_text())
    assert written["kind"] == schema["properties"]["kind"]["const"]
    model = schema["$defs"]["model"]
    for one in written["models"]:
        assert set(one) == set(model["properties"]) == set(model["required"])
        assert [at["context"] for at in one["at_context"]] == [1, 4096]
        assert set(one["at_context"][0]) == set(model["properties"]["at_context"]["items"]["properties"])
    assert exit_code(["count", "kimi-k2", "--json", str(tmp_path / "counts.json")]) == 0
    assert exit_code(["count"]) == 0
    assert "gpt-oss-20b" in capsys.readouterr().out


def test_the_table_in_data_is_the_librarys() -> None:
    text = (ROOT / "data" / "published" / "model_configs.csv").read_text()
    assert text == table(), "python -m moelaws.exchange.published_models data/published/model_configs.csv"
    assert {row["tag"] for row in csv.DictReader(text.splitlines())} <= {"T2", "M"}
