"""Parameters, FLOPs and bytes of a model counted by formula, and FLOPs counted by torch beside them."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd

from moelaws.charts.shares import bytes_read, convention_ratios, parameter_bars
from moelaws.config import ModelConfig
from moelaws.counting import (
    count_parameters,
    decode_weight_bytes,
    kv_bytes_per_token,
    training_flops_per_token,
    weight_bytes,
)
from moelaws.serving.touched import even_experts

if TYPE_CHECKING:
    from moelaws.models.transformer import Transformer

CONVENTIONS = ("exact", "eq9", "6na")


def role_figure(model: ModelConfig) -> alt.Chart:
    """Parameters by role, of the model and of the dense one of its width."""
    dense = replace(model, n_experts=1, top_k=1)
    roles = ("embedding", "attention", "norms", "router", "experts")
    counted = {"dense": count_parameters(dense), f"E = {model.n_experts}": count_parameters(model)}
    counts = pd.DataFrame(
        {"model": name, "role": role, "parameters": getattr(count, role), "order": order}
        for name, count in counted.items()
        for order, role in enumerate(roles)
    )
    return parameter_bars(
        counts,
        title="Nearly all that a mixture adds is in the experts",
        description="Stacked bars of parameters by role for the dense model and for the mixture of experts.",
    )


def parameter_numbers(model: ModelConfig) -> dict[str, Any]:
    """Total and active parameters, and the share that the experts hold."""
    counted = count_parameters(model)
    return {
        "expert_share": f"{counted.experts / counted.total:.0%}",
        "total": f"{counted.total:,}",
        "active": f"{counted.active:,}",
        "active_share": f"{counted.active / counted.total:.0%}",
        "one_minus_s": f"{1 - model.sparsity:.0%}",
    }


def flops_table(model: ModelConfig) -> pd.DataFrame:
    """Training FLOPs per token by each convention, and over the exact count."""
    flops = {name: training_flops_per_token(model, name) for name in CONVENTIONS}
    return pd.DataFrame(
        {
            "training FLOPs per token": [f"{v:,}" for v in flops.values()],
            "over exact": [f"{v / flops['exact']:.3f}" for v in flops.values()],
        },
        index=pd.Index(CONVENTIONS),
    )


def convention_figure(model: ModelConfig) -> alt.LayerChart:
    """The conventions over the exact count, against the width of the model."""
    ratios = []
    for width in (16, 32, 64, 128, 256, 512, 1024):
        wider = replace(model, d_model=width, n_heads=width // 16, d_ff=4 * width)
        exact = training_flops_per_token(wider, "exact")
        ratios += [
            {"d_model": width, "convention": name, "ratio": training_flops_per_token(wider, name) / exact}
            for name in ("eq9", "6na")
        ]
    return convention_ratios(
        pd.DataFrame(ratios),
        title="The conventions meet only in wide models",
        description="FLOPs per token by Equation 9 and by six times the active parameters, over the exact count, by "
        "width.",
    )


def flops_numbers(model: ModelConfig) -> dict[str, Any]:
    """What the rule of thumb misses, and the answers to a question and to an exercise."""
    exact, rule = (training_flops_per_token(model, name) for name in ("exact", "6na"))
    hand = ModelConfig(vocab_size=1024, d_model=64, n_layers=2, n_heads=4, d_ff=256, n_experts=16, context=128)
    # The chapter's question: 64 experts, 8 for each of 16 tokens.
    touched = even_experts(64, 8, 16)
    return {
        "na_off": f"{1 - rule / exact:.0%}",
        "hand": f"{training_flops_per_token(hand, 'eq9'):,}",
        "touched": f"{touched:.0f}",
    }


def flops_by_torch(module: "Transformer") -> int:
    """Training FLOPs per token as torch counts them in one forward and backward pass over two windows."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from moelaws.models.product import plain_layers

    model = module.config
    ids = torch.randint(model.vocab_size, (2, model.context + 1))
    rule: dict[Any, Any] = {torch.ops.aten._grouped_mm: _grouped_product}
    with (
        plain_layers(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False, custom_mapping=rule) as counter,
    ):
        logits, _ = module(ids[:, :-1])
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    return int(counter.get_total_flops()) // (2 * model.context)


def bytes_table(model: ModelConfig) -> pd.DataFrame:
    """Bytes of the weights, of those that one token reads, and of the cache, in bf16."""
    counts = {
        "weights in memory (MB)": weight_bytes(model, 2) / 1e6,
        "weights read for one token (MB)": decode_weight_bytes(model, 1, 2) / 1e6,
        "cache per token of context (kB)": kv_bytes_per_token(model, 2) / 1e3,
    }
    return pd.Series(counts).round(3).to_frame("bf16")


def bytes_figure(model: ModelConfig) -> alt.Chart:
    """Weights that a step reads per token, against the batch."""
    table = pd.DataFrame(
        {
            "batch": batch,
            "n_experts": experts,
            "megabytes_per_token": decode_weight_bytes(replace(model, n_experts=experts, top_k=1), batch) / batch / 1e6,
        }
        for experts in (1, 4, 16, 64)
        for batch in (1, 2, 4, 8, 16, 32, 64, 128, 256)
    )
    return bytes_read(
        table,
        title="The more experts, the larger the batch that shares their weights",
        description="Megabytes of weights read per token against batch size, for 1, 4, 16 and 64 experts.",
    )


def _grouped_product(a: Any, b: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(2 * math.prod(a) * b[-1])
