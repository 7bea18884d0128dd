"""Laws of experts against each other on the same runs: on all of them, and on those that they have not seen."""

from dataclasses import replace
from typing import Any

import altair as alt
import pandas as pd

from howmany.figures import expert_gains as figures
from howmany.measured.gain_trends import LETTERS, variant
from howmany.measured.saturation_scan import Saturation
from moelaws.charts.tables import readable
from moelaws.comparing.comparison import Comparison
from moelaws.fitting.fit import fit
from moelaws.fitting.holdouts import UNCHANGED, forecasts
from moelaws.fitting.result import FitResult
from moelaws.laws import Law, law, law_from_formula
from moelaws.laws.saturation import endless, saturating

FREE_CENTRE, WITH_TOKENS = "Eq. 4 and b", "Eq. 4 and b, h"


def with_tokens(base: Law) -> Law:
    """Eq. 4 with the missing b and an interaction h of experts and tokens."""
    return variant(base, WITH_TOKENS, "(b + d*ln(N) + h*ln(D))*ln(Eh)")


def contestants(base: Law, found: Saturation) -> dict[str, Law | str]:
    """Nine laws that can be asked about these runs.

    Args:
        base: Eq. 4 as it was fitted.
        found: whether E_max is bounded.
    """
    yun = law("yun2024")
    kept = tuple(p for p in base.parameters if p.name != "d")
    joint = found.written(law("ludziejewski2025"))
    # Runs as few as these send its exponents to any bound; beyond two they mean nothing.
    near_zero = (p if p.positive else replace(p, bounds=(-2.0, 2.0)) for p in joint.parameters)
    sizes = {"N": "non_embedding_params", "D": "tokens"}
    return {
        "base": base,
        "other": endless(yun) if found.bounded else saturating(yun),
        "no d": law_from_formula("Eq. 4, d = 0", yun.formula.partition(" * exp")[0], LETTERS, base.definitions, kept),
        "b": variant(base, FREE_CENTRE, "(b + d*ln(N))*ln(Eh)"),
        "b, h": with_tokens(base),
        "abnar": "abnar2025",
        "joint": replace(joint, parameters=tuple(near_zero)),
        "coarse": law_from_formula("krajewski2024, G = 1", "c + a/N^alpha + b/D^beta", sizes),
        "dense": "hoffmann2022",
    }


def contest_table(contest: Comparison) -> pd.DataFrame:
    """What ``compare`` found of the fits to all runs, written out."""
    forms = {"parameters": "{:.0f}", "delta_aicc": "{:.1f}"}
    shown = contest.table[["law", "parameters", "status", "rmse_log", "delta_aicc", "loo_rmse"]]
    return readable(shown.set_index("law"), "{:.4f}", forms)


def ahead(laws: dict[str, Law | str], runs: pd.DataFrame, starts: int) -> pd.DataFrame:
    """Errors of forecasts of the most experts, the most tokens and the widest models, from the rest of the runs."""
    asked = [laws[name] for name in ("base", "b, h", "abnar", "joint", "coarse", "dense")]
    held_out, point = ["n_experts", "planned", "d_model"], ["d_model", "planned", "n_experts"]
    table = forecasts(asked, runs, held_out, point, starts=starts)
    names = _names(runs)
    table["held_out"] = table["held_out"].map(names)
    return table


def by_law(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The same, a row a law, the one with the least worst error first."""
    wide = table.pivot(index="law", columns="held_out", values="rmse_log")[list(_names(runs).values())]
    return wide.loc[wide.max(axis=1).sort_values().index]


def forecast_figure(table: pd.DataFrame, runs: pd.DataFrame, noise: float) -> alt.LayerChart:
    """The errors of the forecasts, beside the noise of one run."""
    order = by_law(table, runs).index
    return figures.forecast_errors(
        table.set_index("law").loc[order].reset_index(),
        noise,
        f"Least worst forecast: {order[0]}",
        "Errors of each law on held-out experts, tokens and width, on a log axis, beside the noise of one run.",
    )


def contest_numbers(contest: Comparison, errors: pd.DataFrame, base: Law) -> dict[str, Any]:
    """What each part of Eq. 4 is worth by AICc, and who forecasts best.

    Args:
        contest: what ``compare`` returns.
        errors: what ``by_law`` returns; its columns are experts, tokens and width.
        base: Eq. 4 as it was fitted.
    """
    aic = contest.table.set_index("law")["delta_aicc"]
    numbers: dict[str, Any] = {
        "ex_aic_best": contest.table["law"].iloc[0],
        "ex_aic_h": f"{aic[WITH_TOKENS] - aic[FREE_CENTRE]:+.1f}",
        "ex_aic_end": f"{aic['yun2024'] - aic['yun2024, no E_max']:+.1f}",
        "ex_aic_d": f"{aic['Eq. 4, d = 0'] - aic[base.name]:+.1f}",
        "ex_aic_b": f"{aic[FREE_CENTRE] - aic[base.name]:+.1f}",
    }
    for key, name in zip(("e", "d", "n"), errors.columns, strict=True):
        numbers[f"ex_out_{key}"] = f"{100 * errors.loc[base.name, name]:.2f}"
        numbers[f"ex_none_{key}"] = f"{100 * errors.loc[UNCHANGED, name]:.2f}"
        # A tie goes to the name that comes first in the alphabet.
        numbers[f"ex_first_{key}"] = errors[name].sort_index().idxmin()
        numbers[f"ex_least_{key}"] = f"{100 * errors[name].min():.2f}"
    wild = sorted(errors.index[errors.max(axis=1) > 0.5])
    astray = f"One goes astray altogether ({', '.join(wild)}): an exponent that the runs leave open may explode one "
    return numbers | {
        "ex_beaten": int((errors.loc[base.name] < errors.loc[UNCHANGED]).sum()),
        "ex_wild": astray + "step further." if wild else "None goes astray altogether.",
    }


def unit_numbers(base: Law, best: FitResult, runs: pd.DataFrame, starts: int) -> dict[str, Any]:
    """What becomes of Eq. 4 when N is counted in thousands."""
    thousands = fit(base, runs.assign(dense_params=runs["dense_params"] / 1000), "lsq-log", starts=starts)
    return {
        "ex_unit": f"{100 * (thousands.search.objective_value / best.search.objective_value - 1):+.1f}",
        "ex_unit_d": f"{thousands.params['d']:+.4f}",
    }


def _names(runs: pd.DataFrame) -> dict[str, str]:
    return {
        "n_experts": f"E = {runs['n_experts'].max()}",
        "planned": f"D = {runs['planned'].max() / 1e6:.1f} M",
        "d_model": f"d = {runs['d_model'].max()}",
    }
