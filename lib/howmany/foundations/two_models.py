"""A dense model and a mixture trained on one budget: what they reach, and where the mixture's tokens go."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from moelaws.charts.losses import training_curves
from moelaws.charts.routing import coloured_text, load_bars, token_experts
from moelaws.counting import count_parameters
from moelaws.runs import RunTableError, pooled_noise, seed_spread

if TYPE_CHECKING:
    from IPython.display import HTML

    from moelaws.text.corpus import Corpus

NEEDED = ("loss", "budget", "n_experts")
"""Columns of the run table that tells what seeds do."""

Results = Mapping[int, Any]
"""Number of experts -> what ``train`` returned, with its validation; 1 is the dense model."""


def comparison(results: Results) -> pd.DataFrame:
    """Sizes, tokens and losses of the models, a column each."""
    rows = {}
    for experts, result in results.items():
        run, counted = result.run, count_parameters(result.run.model)
        rows["dense" if experts == 1 else f"E = {experts}, K = {run.model.top_k}"] = {
            "total parameters": f"{counted.total:,}",
            "active parameters": f"{counted.active:,}",
            "training tokens": f"{run.steps * run.batch_tokens:,}",
            "validation loss (nats/token)": f"{result.validation.loss:.3f}",
            "bits per byte": f"{result.validation.bits_per_byte:.3f}",
        }
    return pd.DataFrame(rows).rename_axis(columns="model")


def curve_figure(results: Results) -> alt.Chart:
    """Training loss against tokens, smoothed, without the first twentieth."""
    curves = []
    for experts, result in results.items():
        loss = pd.Series(result.train_loss)
        smooth = loss.rolling(max(1, len(loss) // 60), min_periods=1).mean()
        table = pd.DataFrame(
            {"loss": smooth, "tokens": (loss.index + 1) * result.run.batch_tokens, "n_experts": experts}
        )
        curves.append(table.iloc[len(loss) // 20 :: max(1, len(loss) // 200)])
    return training_curves(
        pd.concat(curves),
        title="Training loss of the dense model and the mixture",
        description="Two falling lines: training loss against tokens for the dense model and the mixture of experts.",
    )


def noise_of_seeds(runs: pd.DataFrame, budget: float) -> float:
    """What another seed does to the loss of one run (standard deviation, nats), of recorded runs of the nearest budget.

    Args:
        runs: a run table in which some points have several seeds.
        budget: training FLOPs of the models that are compared.

    Raises:
        RunTableError: no run was repeated with another seed.
    """
    spread = seed_spread(runs)
    if spread.empty:
        raise RunTableError("the run table has no run that was repeated with another seed: what seeds do is not in it")
    away = np.log(spread["budget"] / budget).abs()
    return float(pooled_noise(spread[away <= away.min() + 1e-9]))


def loss_numbers(dense: Any, moe: Any, noise: float) -> dict[str, Any]:
    """Both losses, which is lower and by how much, at the end and at the beginning, and how uneven the loads are.

    Args:
        dense: the run without experts.
        moe: the mixture's.
        noise: standard deviation of a run's loss between seeds.
    """
    gap = dense.validation.loss - moe.validation.loss
    reach = 1.96 * math.sqrt(2) * noise
    ends = sorted([abs(gap) - reach, abs(gap) + reach])
    early = [float(np.mean(run.train_loss[: max(1, len(run.train_loss) // 4)])) for run in (dense, moe)]
    return {
        "dense_loss": f"{dense.validation.loss:.3f}",
        "moe_loss": f"{moe.validation.loss:.3f}",
        "gap": f"{abs(gap):.3f}",
        "gap_range": f"[{ends[0]:.3f}, {ends[1]:.3f}]".replace("-", "−"),
        "early": "dense model" if early[0] < early[1] else "mixture",
        "early_gap": f"{abs(early[0] - early[1]):.3f}",
        "settled": "beyond what seeds do" if abs(gap) > reach else "no more than seeds do, so one pair settles nothing",
        "noise": f"{noise:.3f}",
        "better": "lower" if gap > 0 else "higher",
        "se": f"{moe.validation.loss_se:.3f}",
        "imbalance": f"{moe.validation.load_imbalance:.1f}",
    }


def load_figure(moe: Any) -> alt.LayerChart:
    """The share of the held-out tokens that each expert received, by layer."""
    load = pd.DataFrame(
        {"layer": f"{layer + 1}", "expert": expert, "share": share}
        for layer, shares in enumerate(moe.validation.load)
        for expert, share in enumerate(shares)
    )
    return load_bars(
        load,
        title="No expert is idle, none takes all",
        description="Share of the held-out tokens that each expert received, in each layer, beside the even share.",
    )


def token_shares(moe: Any, corpus: "Corpus") -> pd.DataFrame:
    """For the most frequent tokens, the share that each expert of the first layer computes."""
    from moelaws.probing.expert_routes import expert_shares

    return expert_shares(moe.model, corpus, layer=0, most_frequent=30)


def token_figure(shares: pd.DataFrame) -> alt.Chart:
    """The same as a figure."""
    return token_experts(
        shares,
        title="Frequent tokens have an expert of their own (first layer)",
        description="For the most frequent tokens of the held-out text, the share that each expert of layer 1 "
        "computes.",
    )


def token_numbers(shares: pd.DataFrame, n_experts: int) -> dict[str, Any]:
    """The share of a token's main expert, beside the even share."""
    main = shares.groupby("token")["share"].max()
    return {"own": f"{main.mean():.0%}", "even": f"{1 / n_experts:.0%}"}


def routed_text(moe: Any, corpus: "Corpus") -> "HTML":
    """A piece of held-out text, each token in the colour of its expert in the last layer."""
    from IPython.display import HTML

    from moelaws.probing.expert_routes import route_text

    return HTML(coloured_text(*route_text(moe.model, corpus, layer=-1, tokens=90), moe.run.model.n_experts))
