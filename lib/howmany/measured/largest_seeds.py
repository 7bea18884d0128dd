"""Several seeds at the study's largest budget: is its gain from experts one seed's?"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from howmany.foundations.fair_recipe import POINT, at_recipe
from moelaws.runs import finished, read_runs
from moelaws.runs.seeds import pooled_variance

COLUMNS = ("loss", "budget", "d_model", "n_experts", "seed", "learning_rate", "batch_sequences")
NAMES = ["n_experts", "d_model", "seeds", "loss", "spread", "change", "low", "high"]


def seeds(study: pd.DataFrame, largest_file: str) -> pd.DataFrame:
    """The seeds of each size that has several at the largest budget, and their best against the best dense one.

    Args:
        study: finished runs of the study, one seed a size.
        largest_file: the table of its other seeds; runs with other settings than the study's are left out.

    Returns:
        One row a number of experts, at the size of the lowest mean: ``n_experts``, ``d_model``, ``seeds``, ``loss``
        (mean), ``spread`` (standard deviation over seeds, pooled over its sizes), ``change`` (less the dense model's)
        with its 95 % interval ``low``, ``high`` by Student's t, spreads of both taken as they are (Welch), nats. No row
        where no run of the table is another seed of the study's.
    """
    other = finished(read_runs(largest_file, required=COLUMNS))
    if not {*COLUMNS, *POINT} <= set(study):
        return pd.DataFrame(columns=NAMES)
    other = other[at_recipe(other, study)]
    if other.empty:
        return pd.DataFrame(columns=NAMES)
    every = pd.concat([study, other], ignore_index=True)
    every = every[every["budget"] == other["budget"].iloc[0]]
    sizes = every.groupby(["n_experts", "d_model"])["loss"].agg(["size", "mean", "var"]).reset_index()
    sizes = sizes[sizes["size"] > 1]
    rows = []
    for n_experts, group in sizes.groupby("n_experts"):
        best = group.loc[group["mean"].idxmin()]
        freedom = group["size"] - 1
        rows.append(
            {"n_experts": int(str(n_experts)), "d_model": int(best["d_model"]), "seeds": int(best["size"])}
            | {
                "loss": best["mean"],
                "variance": float(pooled_variance(group["var"], freedom)),
                "freedom": freedom.sum(),
            }
        )
    table = pd.DataFrame(rows)
    error, dense = table["variance"] / table["seeds"], table.iloc[0]
    freedom = (error + error[0]) ** 2 / (error**2 / table["freedom"] + error[0] ** 2 / dense["freedom"])
    reach = t.ppf(0.975, freedom) * np.sqrt(error + error[0])
    change = table["loss"] - dense["loss"]
    ends = {"change": change, "low": change - reach, "high": change + reach}
    return table.assign(spread=np.sqrt(table["variance"]), **ends)[NAMES]


def seed_table(found: pd.DataFrame) -> pd.DataFrame:
    """The same, written out."""
    if found.empty:
        return pd.DataFrame({"seeds": ["no table of other seeds of these runs"]}, index=["none"])
    change = [f"{a:+.3f} [{b:+.3f}, {c:+.3f}]" for a, b, c in found[["change", "low", "high"]].to_numpy()]
    return pd.DataFrame(
        {
            "E": found["n_experts"],
            "best d": found["d_model"],
            "loss (nats)": found["loss"].map("{:.3f}".format),
            "spread of seeds": found["spread"].map("{:.3f}".format),
            "change from dense (nats)": ["", *change[1:]],
        }
    ).set_index("E")


def seed_numbers(found: pd.DataFrame) -> dict[str, Any]:
    """Numbers for the sentences."""
    if found.empty:
        return dict.fromkeys(("ls_most", "ls_change", "ls_dense", "ls_spread"), "(not known)")
    dense, last = found.iloc[0], found.iloc[-1]
    return {
        "ls_most": int(last["n_experts"]),
        "ls_change": f"{last['change']:+.3f} [{last['low']:+.3f}, {last['high']:+.3f}]",
        "ls_dense": f"{dense['spread']:.3f}",
        "ls_spread": f"{last['spread']:.3f}",
    }
