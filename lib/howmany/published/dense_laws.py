"""Dense laws: two fits of the same runs, the trap of an averaged objective, and what a floor does to a forecast."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.study import budget_label
from moelaws.charts.fits import best_sizes_by_fit
from moelaws.fitting.fit import fit
from moelaws.fitting.intervals.uncertainty import Bootstrap
from moelaws.fitting.result import FitResult
from moelaws.laws import law
from moelaws.optimum.optimum import Forecaster, best_size

LAW = "hoffmann2022"
EXPONENT = "exponent of N*"

Objective = Callable[[Any, Callable[[Any], Any]], float]
_NAMES = {"approach3": "Hoffmann et al. 2022", "besiroglu2024": "Besiroglu et al. 2024"}


def published(target_flops: float) -> pd.DataFrame:
    """The two published fits, and the best model that each forecasts for a budget."""
    dense, rows = law(LAW), {}
    for key, label in _NAMES.items():
        p = dense.published[key]
        best = best_size(Forecaster(dense, p), target_flops)
        rows[label] = dict(p) | {
            "best N": best.active_params,
            "best D": best.tokens,
            "D/N": best.tokens_per_param,
            EXPONENT: p["beta"] / (p["alpha"] + p["beta"]),
        }
    return pd.DataFrame(rows).T.rename_axis("fit")


def two_answers(target_flops: float) -> alt.LayerChart:
    """The best size at each budget by either fit, with the budget that is asked about."""
    dense = law(LAW)
    rows = [
        (label, c, best_size(Forecaster(dense, dense.published[key]), c).active_params)
        for key, label in _NAMES.items()
        for c in np.geomspace(1e18, 10 * target_flops, 40)
    ]
    table = pd.DataFrame(rows, columns=["fit", "train_flops", "active_params"])
    ends = [best_size(Forecaster(dense, dense.published[key]), target_flops).active_params for key in _NAMES]
    return best_sizes_by_fit(
        table,
        target_flops,
        title=f"At {target_flops:.3g} FLOPs two fits of the same runs lie apart by a factor of {ends[1] / ends[0]:.1f}",
        description="Best parameters against the budget by two published fits: the lines part as budgets grow.",
    )


def published_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """The two best models, in billions and in tokens a parameter."""
    (n1, n2), (r1, r2) = table["best N"], table["D/N"]
    return {
        "de_n1": f"{n1 / 1e9:.0f}",
        "de_n2": f"{n2 / 1e9:.0f}",
        "de_r1": f"{r1:.0f}",
        "de_r2": f"{r2:.0f}",
        "de_a2": f"{table[EXPONENT].iloc[1]:.3f}",
    }


def made_runs(truth: Mapping[str, float], sizes_per_budget: int, noise: float) -> pd.DataFrame:
    """Runs whose law is known, around the best size of nine budgets.

    Args:
        truth: coefficients of Hoffmann's law.
        sizes_per_budget: runs at each budget.
        noise: standard deviation of ln L.
    """
    dense = law(LAW)
    around = [
        (c, best_size(Forecaster(dense, truth), c).active_params * k)
        for c in np.geomspace(6e18, 3e21, 9)
        for k in np.geomspace(0.2, 5, sizes_per_budget)
    ]
    runs = pd.DataFrame(around, columns=["train_flops", "active_params"])
    runs["tokens"] = runs["train_flops"] / (6 * runs["active_params"])
    rng = np.random.default_rng(0)
    return runs.assign(loss=dense.predict(truth, runs) * np.exp(noise * rng.normal(size=len(runs))))


def reached(objective: Objective, ends: Mapping[str, Sequence[Any]], result: FitResult) -> pd.DataFrame:
    """The summed objective at each end, over that of the library's fit, and the iterations it took.

    Args:
        objective: (theta, how to reduce) -> what the chapter minimises.
        ends: how it was reduced -> where the descents ended.
        result: the library's fit.
    """
    rows = [
        (how, objective(end.x, np.sum) / result.search.objective_value, end.nit)
        for how, group in ends.items()
        for end in group
    ]
    return pd.DataFrame(rows, columns=["reduction", "ratio", "iterations"])


def descent_numbers(table: pd.DataFrame, result: FitResult) -> dict[str, Any]:
    """How many descents arrive, after how many iterations, and what the library's fit did."""
    mean, total = (table[table["reduction"] == name] for name in ("mean", "sum"))
    return {
        "de_hit_mean": int((mean["ratio"] < 1.001).sum()),
        "de_hit_sum": int((total["ratio"] < 1.001).sum()),
        "de_best_mean": f"{mean['ratio'].min():.0f}",
        "de_it_mean": f"{mean['iterations'].median():.0f}",
        "de_it_sum": f"{total['iterations'].max():.0f}",
        "de_starts": len(mean),
        "de_at": result.search.starts_at_optimum,
        "de_of": result.search.starts,
        "de_seconds": f"{result.search.seconds:.2f}",
        "de_status": result.status,
    }


def beside_truth(
    truth: Mapping[str, float], result: FitResult, objective: Objective, ends: Mapping[str, Sequence[Any]]
) -> pd.DataFrame:
    """The true coefficients, the fitted ones, and the best that the averaged objective reached."""
    best = min(ends["mean"], key=lambda end: objective(end.x, np.sum)).x
    averaged = dict(zip(truth, [*np.exp(best[:3]), *best[3:]], strict=True))
    table = pd.DataFrame({"truth": truth, "fit": result.params, "best averaged": averaged})
    return table.map("{:.3g}".format).map(_plain)


def _plain(number: str) -> str:
    return f"{float(number):,.0f}" if "e" in number else number


def first_runs(runs: pd.DataFrame, rows: int = 3) -> pd.DataFrame:
    """The first of the made runs, as a reader would write them."""
    table = runs.head(rows)
    return pd.DataFrame(
        {
            "C (FLOPs)": [budget_label(c) for c in table["train_flops"]],
            "N (millions)": [f"{n / 1e6:.1f}" for n in table["active_params"]],
            "D (billions)": [f"{d / 1e9:.1f}" for d in table["tokens"]],
            "loss (nats)": [f"{loss:.3f}" for loss in table["loss"]],
        }
    ).set_index("C (FLOPs)")


def valley_numbers(refits: Bootstrap, truth: Mapping[str, float]) -> dict[str, Any]:
    """How closely A and alpha move together in refits, and which coefficients the intervals hold."""
    cloud, intervals = pd.DataFrame(refits.params), refits.result.intervals
    low, high = intervals["A"]
    return {
        "de_corr": f"{np.corrcoef(np.log(cloud['A']), cloud['alpha'])[0, 1]:.3f}",
        "de_a_low": f"{low:.0f}",
        "de_a_high": f"{high:.0f}",
        "de_covered": sum(intervals[k][0] <= truth[k] <= intervals[k][1] for k in truth),
    }


def held_floors(runs: pd.DataFrame, floors: Sequence[float], target_flops: float) -> pd.DataFrame:
    """What holding the floor at one value after another does to the fit and to its forecast."""
    rows = {}
    for floor in floors:
        fixed = fit(LAW, runs, fixed={"E": floor})
        best = best_size(Forecaster(fixed.law, fixed.params), target_flops)
        rows[floor] = {
            "RMSE of ln L (%)": 100 * fixed.quality.rmse_log,
            "forecast loss": best.loss,
            "best N (billions)": best.active_params / 1e9,
        }
    return pd.DataFrame(rows).T.rename_axis("E held at")


def floor_table(floors: pd.DataFrame) -> pd.DataFrame:
    """The same, written out."""
    forms = ("{:.2f}", "{:.2f}", "{:.0f}")
    columns = zip(floors.columns, forms, strict=True)
    written = pd.DataFrame({name: floors[name].map(form.format) for name, form in columns})
    return written.set_axis([f"{floor:.1f}" for floor in floors.index]).rename_axis(floors.index.name)


def floor_numbers(
    interval: tuple[float, float], floors: pd.DataFrame, refits: Bootstrap, table: pd.DataFrame
) -> dict[str, Any]:
    """The interval of the floor, and of the forecast, by the floors held and by bootstrap.

    Args:
        interval: of the floor, by profile.
        floors: what ``held_floors`` returns.
        refits: the bootstrap.
        table: what ``published`` returns; its last row is the model that is forecast.
    """
    last = table.iloc[-1]
    low, high = refits.band(pd.DataFrame([{"active_params": last["best N"], "tokens": last["best D"]}]))
    return {
        "de_e_low": f"{interval[0]:.2f}",
        "de_e_high": f"{interval[1]:.2f}",
        "de_f_low": f"{floors['forecast loss'].iloc[0]:.2f}",
        "de_f_high": f"{floors['forecast loss'].iloc[-1]:.2f}",
        "de_b_low": f"{low[0]:.3f}",
        "de_b_high": f"{high[0]:.3f}",
    }
