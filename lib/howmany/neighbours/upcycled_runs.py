"""The runs of the upcycling sweep, arm beside arm: what differs between them, with the noise between two seeds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from howmany.verdict import Finding

Array = NDArray[np.float64]

UPCYCLED, DENSE, SCRATCH, PARENT, NOISY = (
    "upcycled", "dense, going on", "mixture from scratch", "dense from scratch", "upcycled with noise",
)  # fmt: skip


@dataclass(frozen=True)
class Arms:
    """The sweep, as arrays; S seeds, I numbers of dense tokens, J of upcycled ones.

    Attributes:
        before_I, after_J: D1 and D2, tokens.
        grown_SIJ: losses of the mixtures grown from dense models.
        dense_SIJ: losses of the dense models that went on with the same restart.
        noisy_SJ: losses with noise in the copies, at the middle D1; NaN where there was none.
        parent_SI: losses of the dense models.
        fresh_D: tokens of the mixtures from random weights.
        fresh_SD: their losses.
        dense_flops, mixture_flops: training FLOPs of a token.
    """

    before_I: Array
    after_J: Array
    grown_SIJ: Array
    dense_SIJ: Array
    noisy_SJ: Array
    parent_SI: Array
    fresh_D: Array
    fresh_SD: Array
    dense_flops: float
    mixture_flops: float

    def fresh_at(self, tokens: Array) -> Array:
        """Losses of mixtures from scratch after some tokens, S x the tokens' shape: straight in ln D between runs."""
        x = np.log(self.fresh_D)
        inside = np.stack([np.interp(np.log(tokens), x, losses) for losses in self.fresh_SD])
        beyond = np.maximum(np.log(tokens) - x[-1], 0)
        slopes = (self.fresh_SD[:, -1] - self.fresh_SD[:, -2]) / (x[-1] - x[-2])
        return inside + slopes.reshape(-1, *[1] * np.ndim(tokens)) * beyond

    @property
    def flops_IJ(self) -> Array:
        """Training FLOPs of each upcycled mixture, its dense model's included."""
        return self.before_I[:, None] * self.dense_flops + self.after_J * self.mixture_flops

    @property
    def equal_IJ(self) -> Array:
        """Tokens of a mixture from scratch of as many FLOPs."""
        return self.flops_IJ / self.mixture_flops

    def instead(self, losses_SIJ: Array) -> Array:
        """Losses from scratch at equal FLOPs less these, S x I x J."""
        return self.fresh_at(self.equal_IJ) - losses_SIJ


def arms(runs: pd.DataFrame) -> Arms:
    """Sort the sweep's runs into its arms.

    Args:
        runs: finished runs of the sweep, all seeds of all arms.

    Raises:
        ValueError: a run is missing.
    """
    moe, start = runs["n_experts"] > 1, runs["dense_tokens"] > 0
    noisy = runs["copy_noise"] > 0
    grown = _grid(runs[moe & start & ~noisy], "upcycled mixtures")
    dense = _grid(runs[~moe & start], "dense models that went on")
    parents, fresh = runs[~moe & ~start], runs[moe & ~start]
    with_noise = runs[noisy].pivot_table(index="seed", columns="tokens", values="loss")
    after = sorted(runs[moe & start]["tokens"].unique())
    by_seed = [part.pivot_table(index="seed", columns="tokens", values="loss") for part in (parents, fresh)]
    return Arms(
        before_I=np.array(sorted(runs[start]["dense_tokens"].unique()), float),
        after_J=np.array(after, float),
        grown_SIJ=grown,
        dense_SIJ=dense,
        noisy_SJ=with_noise.reindex(columns=after).to_numpy(float),
        parent_SI=by_seed[0].to_numpy(float),
        fresh_D=by_seed[1].columns.to_numpy(float),
        fresh_SD=by_seed[1].to_numpy(float),
        dense_flops=float((parents["train_flops"] / parents["tokens"]).iloc[0]),
        mixture_flops=float((fresh["train_flops"] / fresh["tokens"]).iloc[0]),
    )


def difference(where: str, values_S: Array, noise: float, freedom: int, unit: str = "nats") -> Finding:
    """A finding from one number a seed, with the noise of many such numbers."""
    reach = float(stats.t.ppf(0.975, freedom)) * noise / np.sqrt(len(values_S))
    middle = float(np.mean(values_S))
    return Finding(where, middle, middle - reach, middle + reach, unit)


def thresholds(found: Arms, losses_SIJ: Array) -> Array:
    """ln D2 from which scratch on as many tokens is better, S x I; straight in ln D2, beyond the runs along the last.

    Infinite where scratch comes no nearer there.
    """
    x = np.log(found.after_J)
    lead_SIJ = found.fresh_at(found.after_J)[:, None, :] - losses_SIJ
    crossed = np.empty(lead_SIJ.shape[:2])
    for place in np.ndindex(crossed.shape):
        lead = lead_SIJ[place]
        below = np.flatnonzero(lead < 0)
        right = int(below[0]) if len(below) else len(lead) - 1
        left = max(right - 1, 0)
        right = left + 1
        slope = (lead[right] - lead[left]) / (x[right] - x[left])
        crossed[place] = x[left] - lead[left] / slope if slope < 0 else np.inf
    return crossed


def _grid(runs: pd.DataFrame, what: str) -> Array:
    axes = [sorted(runs[name].unique()) for name in ("seed", "dense_tokens", "tokens")]
    table = runs.pivot_table(index="seed", columns=["dense_tokens", "tokens"], values="loss").sort_index(axis=1)
    if len(runs) != np.prod([len(axis) for axis in axes]) or table.isna().any().any():
        raise ValueError(f"upcycling: {what}: expected a run of every D1, D2 and seed, found {len(runs)}")
    return table.to_numpy(float).reshape([len(axis) for axis in axes])
