"""Configurations of published models: the fields that a count needs, by name. Numbers are facts; no file is copied.

``python -m moelaws.exchange.published_models data/published/model_configs.csv`` writes the same rows as a table.
"""

import csv
import io
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CARD = "config.json of its makers on Hugging Face"


@dataclass(frozen=True)
class PublishedModel:
    """A model by name.

    Attributes:
        name: in lower case, as in the address of its weights.
        maker: the first part of that address.
        tag: ``T2``: the fields were found in two independent transcriptions, or make the total that is printed to the
            last digit; ``M``: from memory, and the total agrees with what its makers round to.
        config: fields of its ``config.json``; those that do not bear on a count are left out.
    """

    name: str
    maker: str
    tag: str
    config: Mapping[str, Any]

    @property
    def source(self) -> str:
        """Where its fields were published."""
        return f"{self.maker}/{self.name}: {_CARD}"


def _config(
    kind: str, vocab: int, width: int, layers: int, hidden: int, heads: int, kv: int, **more: Any
) -> dict[str, Any]:  # fmt: skip
    return {
        "model_type": kind, "vocab_size": vocab, "hidden_size": width, "num_hidden_layers": layers,
        "intermediate_size": hidden, "num_attention_heads": heads, "num_key_value_heads": kv,
    } | more  # fmt: skip


def _qwen3(width: int, layers: int, heads: int, kv: int, n_experts: int, hidden: int) -> dict[str, Any]:
    return _config(
        "qwen3_moe", 151936, width, layers, 3 * width, heads, kv, head_dim=128, num_experts=n_experts,
        num_experts_per_tok=8, moe_intermediate_size=hidden, decoder_sparse_step=1, mlp_only_layers=[],
    )  # fmt: skip


def _deepseek(kind: str, sizes: tuple[int, ...], experts: tuple[int, ...], query_rank: int | None) -> dict[str, Any]:
    """``sizes``: vocabulary, d, layers, dense hidden width, heads; ``experts``: E, K, hidden width, shared, leading."""
    vocab, width, layers, hidden, heads = sizes
    n_experts, top_k, expert, shared, leading = experts
    return _config(
        kind, vocab, width, layers, hidden, heads, heads, n_routed_experts=n_experts, num_experts_per_tok=top_k,
        moe_intermediate_size=expert, n_shared_experts=shared, first_k_dense_replace=leading, moe_layer_freq=1,
        q_lora_rank=query_rank, kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128,
    )  # fmt: skip


def _glm(width: int, layers: int, hidden: int, experts: tuple[int, int, int], qk_norm: bool) -> dict[str, Any]:
    """``experts``: E, hidden width, leading dense layers."""
    return _config(
        "glm4_moe", 151552, width, layers, hidden, 96, 8, head_dim=128, attention_bias=True, use_qk_norm=qk_norm,
        n_routed_experts=experts[0], num_experts_per_tok=8, moe_intermediate_size=experts[1], n_shared_experts=1,
        first_k_dense_replace=experts[2], num_nextn_predict_layers=1,
    )  # fmt: skip


def _llama4(n_experts: int, step: int) -> dict[str, Any]:
    return _config(
        "llama4_text", 202048, 5120, 48, 8192, 40, 8, head_dim=128, intermediate_size_mlp=16384,
        num_local_experts=n_experts, num_experts_per_tok=1, interleave_moe_layer_step=step, attention_chunk_size=8192,
    )  # fmt: skip


def _gpt_oss(layers: int, n_experts: int) -> dict[str, Any]:
    return _config(
        "gpt_oss", 201088, 2880, layers, 2880, 64, 8, head_dim=64, num_local_experts=n_experts, num_experts_per_tok=4,
        sliding_window=128, attention_bias=True,
    )  # fmt: skip


def _granite(width: int, layers: int, heads: int, n_experts: int) -> dict[str, Any]:
    return _config(
        "granitemoe", 49155, width, layers, 512, heads, 8, num_local_experts=n_experts, num_experts_per_tok=8,
        tie_word_embeddings=True,
    )  # fmt: skip


PUBLISHED = (
    PublishedModel("olmoe-1b-7b-0924", "allenai", "T2", _config(
        "olmoe", 50304, 2048, 16, 1024, 16, 16, num_experts=64, num_experts_per_tok=8)),
    PublishedModel("mixtral-8x7b-v0.1", "mistralai", "T2", _config(
        "mixtral", 32000, 4096, 32, 14336, 32, 8, num_local_experts=8, num_experts_per_tok=2)),
    PublishedModel("mixtral-8x22b-v0.1", "mistralai", "M", _config(
        "mixtral", 32000, 6144, 56, 16384, 48, 8, num_local_experts=8, num_experts_per_tok=2)),
    PublishedModel("qwen1.5-moe-a2.7b", "qwen", "T2", _config(
        "qwen2_moe", 151936, 2048, 24, 5632, 16, 16, num_experts=60, num_experts_per_tok=4, moe_intermediate_size=1408,
        shared_expert_intermediate_size=5632)),
    PublishedModel("qwen2-57b-a14b", "qwen", "M", _config(
        "qwen2_moe", 151936, 3584, 28, 18944, 28, 4, num_experts=64, num_experts_per_tok=8, moe_intermediate_size=2560,
        shared_expert_intermediate_size=20480)),
    PublishedModel("qwen3-30b-a3b", "qwen", "T2", _qwen3(2048, 48, 32, 4, 128, 768)),
    PublishedModel("qwen3-235b-a22b", "qwen", "M", _qwen3(4096, 94, 64, 4, 128, 1536)),
    PublishedModel("qwen3-coder-480b-a35b-instruct", "qwen", "M", _qwen3(6144, 62, 96, 8, 160, 2560)),
    PublishedModel("deepseek-v2-lite", "deepseek-ai", "T2", _deepseek(
        "deepseek_v2", (102400, 2048, 27, 10944, 16), (64, 6, 1408, 2, 1), None)),
    PublishedModel("deepseek-v2", "deepseek-ai", "M", _deepseek(
        "deepseek_v2", (102400, 5120, 60, 12288, 128), (160, 6, 1536, 2, 1), 1536)),
    PublishedModel("deepseek-v3", "deepseek-ai", "T2", _deepseek(
        "deepseek_v3", (129280, 7168, 61, 18432, 128), (256, 8, 2048, 1, 3), 1536)),
    PublishedModel("kimi-k2-instruct", "moonshotai", "T2", _deepseek(
        "kimi_k2", (163840, 7168, 61, 18432, 64), (384, 8, 2048, 1, 1), 1536)),
    PublishedModel("gpt-oss-20b", "openai", "T2", _gpt_oss(24, 32)),
    PublishedModel("gpt-oss-120b", "openai", "T2", _gpt_oss(36, 128)),
    PublishedModel("glm-4.5", "zai-org", "M", _glm(5120, 92, 12288, (160, 1536, 3), True)),
    PublishedModel("glm-4.5-air", "zai-org", "T2", _glm(4096, 46, 10944, (128, 1408, 1), False)),
    PublishedModel("llama-4-scout-17b-16e", "meta-llama", "M", _llama4(16, 1)),
    PublishedModel("llama-4-maverick-17b-128e", "meta-llama", "T2", _llama4(128, 2)),
    PublishedModel("granite-3.0-1b-a400m-base", "ibm-granite", "T2", _granite(1024, 24, 16, 32)),
    PublishedModel("granite-3.0-3b-a800m-base", "ibm-granite", "T2", _granite(1536, 32, 24, 40)),
    PublishedModel("llama-3.1-8b", "meta-llama", "T2", _config("llama", 128256, 4096, 32, 14336, 32, 8)),
    PublishedModel("llama-3.1-70b", "meta-llama", "T2", _config("llama", 128256, 8192, 80, 28672, 64, 8)),
    PublishedModel("mistral-7b-v0.1", "mistralai", "T2", _config(
        "mistral", 32000, 4096, 32, 14336, 32, 8, sliding_window=4096)),
    PublishedModel("qwen2.5-7b", "qwen", "T2", _config("qwen2", 152064, 3584, 28, 18944, 28, 4)),
    PublishedModel("qwen3-8b", "qwen", "T2", _config("qwen3", 151936, 4096, 36, 12288, 32, 8, head_dim=128)),
)  # fmt: skip
"""All of them; the same rows are in data/published/model_configs.csv."""

_OTHER_NAMES = {
    "olmoe": "olmoe-1b-7b-0924", "olmoe-1b-7b": "olmoe-1b-7b-0924", "mixtral": "mixtral-8x7b-v0.1",
    "kimi-k2": "kimi-k2-instruct", "deepseek-r1": "deepseek-v3", "gpt-oss": "gpt-oss-120b",
    "qwen3-coder-480b-a35b": "qwen3-coder-480b-a35b-instruct", "llama-4-scout": "llama-4-scout-17b-16e",
    "llama-4-maverick": "llama-4-maverick-17b-128e", "mistral-7b": "mistral-7b-v0.1",
}  # fmt: skip
_ENDINGS = ("-base", "-instruct", "-chat", "-v0.1", "-hf", "-thinking")


def published_names() -> tuple[str, ...]:
    """Names of all published models."""
    return tuple(each.name for each in PUBLISHED)


def find_published(name: str) -> PublishedModel | None:
    """A model by its name, in any case, with or without its maker and what tells a variant of equal shape.

    Args:
        name: ``mixtral-8x7b``, ``Qwen/Qwen3-30B-A3B-Instruct``.
    """
    wanted = name.strip().rstrip("/").rpartition("/")[2].lower()
    by_name = {each.name: each for each in PUBLISHED}
    by_bare = {_bare(each.name): each for each in PUBLISHED}
    wanted = _OTHER_NAMES.get(wanted, wanted)
    return by_name.get(wanted) or by_bare.get(_bare(wanted)) or by_name.get(_OTHER_NAMES.get(_bare(wanted), ""))


def _bare(name: str) -> str:
    while name.endswith(_ENDINGS):
        name = name.rpartition("-")[0]
    return name


def table() -> str:
    """The models as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "model_type", "config", "tag", "source"))
    for each in PUBLISHED:
        writer.writerow((each.name, each.config["model_type"], json.dumps(dict(each.config)), each.tag, each.source))
    return text.getvalue()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(table())
