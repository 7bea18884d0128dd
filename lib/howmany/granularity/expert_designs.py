"""One sparsity, made by more or finer experts: runs of several designs held against one expert of full width."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from howmany.figures import expert_gains as figures
from howmany.pairs import at_equal_size, mean_difference, pairs
from howmany.study import written
from moelaws.runs import pooled_noise, seed_spread

PLAIN = "K = 1, G = 1"
_FINE = ("K = 2, G = 2", "K = 4, G = 4")


def at_one_budget(every: pd.DataFrame, budget: float) -> pd.DataFrame:
    """The mixtures of a budget at the sparsities and widths of those with more than one expert, with their ``design``.

    Args:
        every: finished runs of all designs.
        budget: FLOPs.
    """
    runs = every[(every["budget"] == budget) & (every["sparsity"] > 0)]
    finer = runs[runs["top_k"] > 1]
    near = runs["d_model"].between(0.8 * finer["d_model"].min(), 1.25 * finer["d_model"].max())
    table = runs[near & runs["sparsity"].isin(finer["sparsity"])]
    names = [written((int(k), float(g))) for k, g in zip(table["top_k"], table["granularity"], strict=True)]
    return table.assign(design=names)


@dataclass(frozen=True)
class Differences:
    """Loss of each design less that of one expert of full width (nats).

    Attributes:
        paired: design -> mean over pairs of one width and seed, with its interval.
        active: differences at equal active size, by design and sparsity (NaN: all of them).
        total: the same at equal total size.
    """

    paired: Mapping[str, Mapping[str, float]]
    active: pd.DataFrame
    total: pd.DataFrame

    @property
    def means(self) -> pd.DataFrame:
        """The differences at equal active size over all sparsities."""
        return _means(self.active)


def differences(table: pd.DataFrame) -> Differences:
    """Compare the designs, seed by seed at one width, and at equal size."""
    plain = {"top_k": 1, "granularity": 1}
    paired = {
        str(name): mean_difference(pairs(table, plain, {"top_k": float(str(k)), "granularity": float(str(g))}))
        for (name, k, g), _ in table[table["design"] != PLAIN].groupby(["design", "top_k", "granularity"])
    }
    active = at_equal_size(table, "design", PLAIN)
    return Differences(paired, active, at_equal_size(table, "design", PLAIN, "total_params"))


def difference_table(found: Differences) -> pd.DataFrame:
    """The differences with their intervals, a row a design."""
    equal = {"same N_a": found.means, "same N": _means(found.total)}
    return pd.DataFrame(
        {
            "same width, seed by seed": {n: f"{r['mean']:+.3f} ({span(r)})" for n, r in found.paired.items()},
            "pairs": {n: r["pairs"] for n, r in found.paired.items()},
        }
        | {
            name: {n: f"{r['difference']:+.3f} ({span(r)})" for n, r in table.iterrows()}
            for name, table in equal.items()
        }
    )


def difference_panels(found: Differences) -> alt.FacetChart:
    """The differences at equal active size by sparsity, a panel a design."""
    means, each = found.means, found.active[found.active["sparsity"].notna()]
    better = int((means["high"] < 0).sum())
    return figures.design_differences(
        each.assign(n_experts=(1 / (1 - each["sparsity"])).round().astype(int)),
        f"At equal active size {better} of {len(means)} designs beat K = G = 1",
        "Difference in loss from one expert of full width, by sparsity, with 95 percent intervals; a panel a design.",
    )


def design_numbers(found: Differences, table: pd.DataFrame) -> dict[str, Any]:
    """What a second expert and finer experts do, beside the noise and what sparsity gains."""
    more, fine = found.means.loc[["K = 2, G = 1"]].iloc[0], [found.paired[name] for name in _FINE]
    numbers: dict[str, Any] = {"ex_k2": f"{more['difference']:+.3f}", "ex_k2_range": span(more)}
    for key, row in zip(("2", "4"), fine, strict=True):
        numbers[f"ex_g{key}"] = f"{row['mean']:+.3f}"
        numbers[f"ex_g{key}_range"] = span(row)
    plain = table["design"] == PLAIN
    gain, noise = table[plain].groupby("sparsity")["loss"].min(), pooled_noise(seed_spread(table[~plain]))
    return numbers | {
        "ex_design_noise": f"{noise:.3f}",
        "ex_gain_s": f"{gain.iloc[0] - gain.iloc[-1]:.3f}",
    }


def span(row: Mapping[str, float] | pd.Series) -> str:
    """An interval as a table writes it."""
    return f"{row['low']:+.3f} to {row['high']:+.3f}"


def _means(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["sparsity"].isna()].set_index("design")
