"""One sparsity, made by more or finer experts; and what the papers say of experts, beside what the runs say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from howmany.figures import expert_gains as figures
from howmany.gains import gains, trends
from howmany.measured.experts import Chance
from howmany.measured.gain_trends import Gain, word
from howmany.measured.saturation_scan import Saturation
from howmany.pairs import at_equal_size, mean_difference, pairs
from moelaws.fitting.result import FitResult
from moelaws.runs import pooled_noise, seed_spread

NEEDED = ("loss", "budget", "d_model", "sparsity", "top_k", "granularity")
"""Columns that both tables must have."""

PLAIN = "K = 1, G = 1"
_FINE = ("K = 2, G = 2", "K = 4, G = 4")


def designs(finer: pd.DataFrame, study: pd.DataFrame) -> pd.DataFrame:
    """The runs of both tables at budgets, sparsities and widths that the finer ones have, with their ``design``."""
    both = pd.concat([finer, study])
    near = both["d_model"].between(0.8 * finer["d_model"].min(), 1.25 * finer["d_model"].max())
    same = both["budget"].isin(finer["budget"]) & both["sparsity"].isin(finer["sparsity"])
    table = both[near & same]
    names = [f"K = {k}, G = {g:g}" for k, g in zip(table["top_k"], table["granularity"], strict=True)]
    return table.assign(design=names)


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """How many runs each design has at each sparsity."""
    return table.pivot_table(index="design", columns="sparsity", values="loss", aggfunc="size", fill_value=0)


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
        str(name): mean_difference(pairs(table, plain, {"top_k": k, "granularity": g}))
        for (name, k, g), _ in table[table["design"] != PLAIN].groupby(["design", "top_k", "granularity"])
    }
    active = at_equal_size(table, "design", PLAIN)
    return Differences(paired, active, at_equal_size(table, "design", PLAIN, "total_params"))


def difference_table(found: Differences) -> pd.DataFrame:
    """The differences with their intervals, a row a design."""
    equal = {"same N_a": found.means, "same N": _means(found.total)}
    return pd.DataFrame(
        {
            "same width, seed by seed": {n: f"{r['mean']:+.4f} ({span(r)})" for n, r in found.paired.items()},
            "pairs": {n: r["pairs"] for n, r in found.paired.items()},
        }
        | {
            name: {n: f"{r['difference']:+.4f} ({span(r)})" for n, r in table.iterrows()}
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


def design_numbers(found: Differences, table: pd.DataFrame, finer: pd.DataFrame) -> dict[str, Any]:
    """What a second expert and finer experts do, beside the noise and what sparsity gains."""
    more, fine = found.means.loc["K = 2, G = 1"], [found.paired[name] for name in _FINE]
    numbers: dict[str, Any] = {"ex_k2": f"{more['difference']:+.4f}", "ex_k2_range": span(more)}
    for key, row in zip(("2", "4"), fine, strict=True):
        numbers[f"ex_g{key}"] = f"{row['mean']:+.4f}"
        numbers[f"ex_g{key}_range"] = span(row)
    gain = table[table["design"] == PLAIN].groupby("sparsity")["loss"].min()
    return numbers | {
        "ex_s_alone": _sparsity_alone(found),
        "ex_g_word": _finer(found),
        "ex_design_noise": f"{pooled_noise(seed_spread(finer)):.4f}",
        "ex_gain_s": f"{gain.iloc[0] - gain.iloc[-1]:.3f}",
    }


def statements(
    eq4: FitResult, seeds: Chance, theirs: float, found: Saturation, gain: Gain, runs: pd.DataFrame, by: Differences
) -> list[tuple[str, str, str]]:
    """The papers' statements on experts, with what the runs come to, and a word.

    Args:
        eq4: Yun's law fitted to the runs.
        seeds: the noise of ln L.
        theirs: the error that Yun's paper prints.
        found: the scan of E_max.
        gain: the gain from experts.
        runs: the runs.
        by: the differences between designs.
    """
    upper = found.allowed[1]
    if upper < found.most:
        open_end = "cannot be tested: the best fit sits where E_max is no number of experts"
    else:
        open_end = "bounded here" if found.bounded else "cannot be tested: runs like these leave E_max open"
    overall, parallel = gain.overall, trends(gains(runs, logs=False)).set_index("n_experts").loc[0]
    sizes = ("reproduced in direction", "contradicted here", "not resolved here")
    tokens = ("contradicted: the gain in nats falls", "contradicted: the gain in nats rises", "not contradicted")
    nats = f"{parallel['per_data']:+.4f} nats a doubling ({parallel['data_low']:+.4f} to {parallel['data_high']:+.4f})"
    error = eq4.quality.rmse_log
    return [
        (
            f"Eq. 4 fits to {theirs:.4f} (Yun)",
            f"{error:.4f}; noise {seeds.noise:.4f}",
            "reproduced" if error <= 1.1 * theirs else "not reproduced",
        ),
        ("experts saturate at E_max (Clark, Yun)", "the runs " + found.words(), open_end),
        (
            "the gain shrinks with N (Clark, Yun)",
            f"{100 * overall['per_size']:+.2f} % a doubling",
            word(overall["size_low"], overall["size_high"], sizes),
        ),
        ("curves parallel in D (Yun)", nats, word(parallel["data_low"], parallel["data_high"], tokens)),
        (
            "loss depends on E and K by S alone (Abnar)",
            f"{by.means.loc['K = 2, G = 1', 'difference']:+.4f} nats for K = 2",
            _sparsity_alone(by),
        ),
        (
            "G = 1 is almost never best (Krajewski)",
            ", ".join(f"{by.paired[name]['mean']:+.4f}" for name in _FINE) + " nats for G = 2, 4",
            _finer(by),
        ),
    ]


def span(row: Mapping[str, float] | pd.Series) -> str:
    """An interval as a table writes it."""
    return f"{row['low']:+.4f} to {row['high']:+.4f}"


def _means(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["sparsity"].isna()].set_index("design")


def _sparsity_alone(found: Differences) -> str:
    more = found.means.loc["K = 2, G = 1"]
    against = ("better", "worse")
    words = [f"contradicted: more experts a token are {side} at equal S" for side in against]
    return word(more["low"], more["high"], (words[0], words[1], "not contradicted"))


def _finer(found: Differences) -> str:
    rows = [found.paired[name] for name in _FINE]
    votes = [word(row["low"], row["high"], ("finer", "coarser", "open")) for row in rows]
    if set(votes) == {"finer"}:
        return "reproduced here"
    if set(votes) == {"coarser"}:
        return "contradicted here"
    return "partly reproduced here" if "finer" in votes else "not resolved here"
