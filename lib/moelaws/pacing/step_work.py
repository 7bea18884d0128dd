"""What a training step is made of: the amounts that its time is a weighted sum of."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.optimize import nnls

from moelaws.config import ModelConfig
from moelaws.counting import count_parameters, training_flops_per_token

WORK: Mapping[str, str] = {
    "step": "what each step takes, whatever it trains: calls",
    "routed layers": "layers with a router: calls of their own",
    "experts": "feed-forward networks, E in a layer with a router and one elsewhere: products of their own",
    "flops": "FLOPs of the matrix products, forward and backward",
    "logits": "tokens times the vocabulary: cross-entropy",
    "rows": "values of the residual stream, tokens times width, over all layers: norms, attention, activations",
    "parameters": "all parameters, idle ones too: the optimiser",
    "routed rows": "values brought to their experts and back, tokens times K times width, over routed layers",
    "choices": "tokens times K, over routed layers: sorting",
    "scores": "tokens times E, over routed layers: the router's softmax",
}
"""Amounts of a step, and what in it is in proportion to them."""

CALLS = ("step", "routed layers", "experts")
"""Amounts of calls: what they take hangs on the program and its host."""

FEW = ("step", "experts", "flops", "parameters")
"""Amounts enough for models of one family and batch, where few steps are measured."""


def step_work(model: ModelConfig, tokens: float) -> dict[str, float]:
    """Amounts of one training step, by the names of ``WORK``.

    Args:
        model: what is trained.
        tokens: of its batch.

    Examples:
        >>> work = step_work(ModelConfig(d_model=64, n_heads=4, d_ff=256, n_experts=8), 1024)
        >>> work["scores"] == 1024 * 8 * work["routed layers"]
        True
    """
    routed = sum(model.has_experts(layer) for layer in range(model.n_layers)) if model.is_moe else 0
    choices = tokens * model.top_k * routed
    return {
        "step": 1.0,
        "routed layers": float(routed),
        "experts": float(model.n_experts * routed + model.n_layers - routed),
        "flops": float(tokens * training_flops_per_token(model)),
        "logits": float(tokens * model.vocab_size),
        "rows": float(tokens * model.d_model * model.n_layers),
        "parameters": float(count_parameters(model).total),
        "routed rows": float(choices * model.d_model),
        "choices": float(choices),
        "scores": float(tokens * model.n_experts * routed),
    }


def work_table(steps: Iterable[tuple[ModelConfig, float]], names: Sequence[str] = tuple(WORK)) -> np.ndarray:
    """Amounts of several steps, [steps, names]."""
    return np.array([[step_work(model, tokens)[name] for name in names] for model, tokens in steps])


def seconds_per_amount(work: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """What each amount takes, none less than nothing, for the least relative errors of the steps: a step of 2 ms counts
    as much as one of 200.

    Args:
        work: amounts, [steps, names].
        seconds: measured, [steps].

    Returns:
        Seconds a unit of each amount, [names].
    """
    scale = np.where(work.max(0) > 0, work.max(0), 1.0)
    weights, _ = nnls(work / scale / seconds[:, None], np.ones(len(seconds)))
    found: np.ndarray = weights / scale
    return found
