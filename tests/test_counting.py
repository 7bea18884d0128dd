"""Counts against torch's own: parameters against numel, FLOPs against FlopCounterMode, forward and backward."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from moelaws.config import ModelConfig
from moelaws.counting import (
    count_parameters,
    decode_weight_bytes,
    expected_experts_touched,
    forward_flops_per_token,
    kv_bytes_per_token,
    tokens_for_budget,
    training_flops_per_token,
    weight_bytes,
)
from moelaws.models import Transformer
from moelaws.models.product import plain_layers

SMALL = ModelConfig(vocab_size=96, d_model=32, n_layers=2, n_heads=2, d_ff=128, context=16)
MODELS = {
    "dense": SMALL,
    "dense, untied": replace(SMALL, tied_embeddings=False),
    "dense, no qk-norm": replace(SMALL, qk_norm=False),
    **{
        f"E {e}, K {k}, G {g}": replace(SMALL, n_experts=e, top_k=k, granularity=g)
        for e in (4, 16)
        for k in (1, 2)
        for g in (1, 2)
    },
    "E 4, K 2, shared": replace(SMALL, n_experts=4, top_k=2, granularity=2, shared_experts=2),
    "E 4, token shift": replace(SMALL, n_experts=4, token_shift=True),
    "E 4, every second layer": replace(SMALL, n_layers=4, n_experts=4, moe_every=2),
    "E 8, odd sizes": replace(SMALL, n_experts=8, top_k=3, n_layers=3, d_ff=72, granularity=2, tied_embeddings=False),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_parameters_equal_torch(model: ModelConfig) -> None:
    counted = count_parameters(model)
    module = Transformer(model)
    assert counted.total == sum(p.numel() for p in module.parameters())
    assert counted.router == sum(p.numel() for n, p in module.named_parameters() if n.endswith("router"))
    layers = [model.has_experts(i) or not model.is_moe for i in range(model.n_layers)]
    experts = sum(
        p.numel() for n, p in module.named_parameters() if ".experts.w_" in n and layers[int(n.split(".")[1])]
    )
    assert counted.experts == experts
    assert counted.feed_forward == sum(
        p.numel()
        for n, p in module.named_parameters()
        if ".shared.w_" in n or (".experts.w_" in n and not layers[int(n.split(".")[1])])
    )
    assert counted.active == counted.total - experts + experts * model.top_k // model.n_experts
    assert counted.total_non_embedding == counted.total - counted.embedding - counted.unembedding


def _grouped_flops(a_shape, b_shape, *args, out_shape=None, **kwargs) -> int:
    """FLOPs of a grouped product, for which torch's counter knows no rule and silently counts zero.

    Rows x E matrices: every row meets one matrix. For the weights' gradient, (D x rows) x (rows x F): every row
    enters one D x F product. Both are two FLOPs per entry of ``a`` and column of ``b``.
    """
    return 2 * math.prod(a_shape) * b_shape[-1]


def _count_with_torch(model: ModelConfig) -> tuple[int, int]:
    module = Transformer(model)
    batch = 3
    ids = torch.randint(model.vocab_size, (batch, model.context + 1), generator=torch.Generator().manual_seed(0))
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten._grouped_mm: _grouped_flops})
    # The fused CPU attention is counted as zero, too; the plain one is counted in full.
    with plain_layers(), sdpa_kernel(SDPBackend.MATH), counter:
        logits, _ = module(ids[:, :-1])
        forward = counter.get_total_flops()
        F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    tokens = batch * model.context
    return forward // tokens, counter.get_total_flops() // tokens


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_flops_equal_torch_forward_and_backward(model: ModelConfig) -> None:
    forward, both = _count_with_torch(model)
    assert forward_flops_per_token(model) == forward
    assert training_flops_per_token(model) == both


def test_eq9_is_the_exact_count_without_the_router() -> None:
    for model in (SMALL, replace(SMALL, n_experts=16, top_k=2, granularity=2)):
        router = 2 * model.n_layers * model.d_model * model.n_experts * model.is_moe
        assert forward_flops_per_token(model, "eq9") == forward_flops_per_token(model) - router


def test_eq9_reproduces_the_formula_as_printed() -> None:
    model = ModelConfig(
        vocab_size=50_432, d_model=2048, n_layers=24, n_heads=16, d_ff=8192, n_experts=64, top_k=2, granularity=2,
        context=2048,
    )  # fmt: skip
    d, layers = model.d_model, model.n_layers
    printed = 6 * layers * d**2 * (4 + 2 * 2048 / d + 12 * 2 / 2 + 50_432 / (d * layers))
    assert training_flops_per_token(model, "eq9") == pytest.approx(printed, rel=1e-12)
    # Fig. 7 of the paper: the ratio to 6 N_a is near one.
    assert training_flops_per_token(model, "6na") == pytest.approx(printed, rel=0.15)


def test_eq9_refuses_another_feed_forward_width() -> None:
    with pytest.raises(ValueError, match=r"Eq\. 9 takes .* d_ff = 4 d_model = 128; this model has .* d_ff = 64"):
        forward_flops_per_token(replace(SMALL, d_ff=64), "eq9")
    for name in ("E 4, K 2, shared", "E 4, every second layer"):
        with pytest.raises(ValueError, match=r"Eq\. 9 takes experts in every layer, none shared"):
            forward_flops_per_token(MODELS[name], "eq9")


def test_an_unknown_convention_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'kaplan': expected one of"):
        forward_flops_per_token(SMALL, "kaplan")  # type: ignore[arg-type]


def test_six_flops_per_active_parameter() -> None:
    model = MODELS["E 16, K 2, G 2"]
    assert training_flops_per_token(model, "6na") == 6 * count_parameters(model).active


def test_a_budget_buys_its_tokens() -> None:
    for convention in ("exact", "eq9", "6na"):
        tokens = tokens_for_budget(SMALL, 1e12, convention)
        assert tokens * training_flops_per_token(SMALL, convention) == pytest.approx(1e12, rel=1e-5)
    with pytest.raises(ValueError, match="does not train this model on one token"):
        tokens_for_budget(SMALL, 1.0)


def test_bytes() -> None:
    model = MODELS["E 16, K 2, G 1"]
    assert weight_bytes(model, 2) == 2 * count_parameters(model).total
    assert kv_bytes_per_token(model, 2) == 2 * 2 * 2 * 32


def test_experts_touched_by_hand() -> None:
    # The worked numbers of the design notes: E = 8, K = 2, B = 3 and E = 128, K = 8, B = 16.
    assert expected_experts_touched(replace(SMALL, n_experts=8, top_k=2), 3) == pytest.approx(4.625)
    assert expected_experts_touched(replace(SMALL, n_experts=128, top_k=8), 16) == pytest.approx(82.4, abs=0.1)
    assert expected_experts_touched(SMALL, 5) == 1


def test_one_token_reads_its_active_weights_and_many_read_all() -> None:
    for model in (MODELS["E 16, K 2, G 2"], MODELS["E 8, odd sizes"]):
        counted = count_parameters(model)
        lookup = 0 if model.tied_embeddings else model.d_model - counted.embedding
        assert decode_weight_bytes(model, 1, 1) == pytest.approx(counted.active + lookup)
        many = decode_weight_bytes(model, 10_000, 1)
        assert many == pytest.approx(counted.total)
