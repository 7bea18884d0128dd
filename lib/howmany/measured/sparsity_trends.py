"""What sparsity does to best sizes and lowest losses at each budget, and the paper's claims on it."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from howmany.abnar import loss_slopes, verdicts
from howmany.claims import read_claims
from howmany.figures import optima_by_experts as figures
from howmany.measured.isoflop import Names
from howmany.study import Study, budget_label
from howmany.verdict import Judged
from howmany.verdicts.placebo import placebo_studies

CLAIMS = ("n-by-s", "na-by-s", "loss-by-s", "s-to-one", "slope-by-c", "s-by-n", "s-by-c")
"""Claims of the paper that this chapter is about."""

Verdicts = Mapping[str, Judged]


def judged(study: Study, claims_file: str, placebos: int, bootstrap: int) -> dict[str, Judged]:
    """The verdict on each claim, by key, beside those of the study's placebos.

    Args:
        study: the surfaces.
        claims_file: the paper's claims.
        placebos: draws of the placebo's noise.
        bootstrap: refits of each of its surfaces.
    """
    claims = {claim.key: claim for claim in read_claims(claims_file)}
    found = verdicts([claims[key] for key in CLAIMS], study, placebo_studies(study, placebos, bootstrap))
    return {each.claim.key: each for each in found}


def size_by_experts(study: Study, variable: str, found: Verdicts, named: Names) -> alt.LayerChart:
    """The best size against the number of experts, with bands, one colour a budget.

    Args:
        study: the surfaces.
        variable: ``total_params`` or ``active_params``.
        found: the verdicts.
        named: names of budgets.
    """
    total = variable == "total_params"
    paths = (
        figures.optimum_path(surface, named(budget)) for (budget, v), surface in study.surfaces.items() if v == variable
    )
    grows = f"The best total size grows with E at {times(found, 'n-by-s')} budgets"
    falls = f"The best active size falls with E at {times(found, 'na-by-s')} budgets"
    return figures.optimum_by_experts(
        pd.concat(paths),
        variable,
        title=grows if total else falls,
        description=f"Best {'total' if total else 'active'} parameters with 95 percent bands against experts, one "
        "colour a budget.",
    )


def loss_by_experts(study: Study, found: Verdicts, named: Names) -> alt.LayerChart:
    """The lowest loss less the dense model's against the number of experts."""
    falls, turns = times(found, "loss-by-s"), times(found, "loss-by-s", "partly")
    return figures.loss_change_by_experts(
        pd.concat(figures.loss_change(each, named(each.budget)) for each in study.landscapes),
        title=f"L* falls with experts at {falls} budgets, and turns at {turns}",
        description="Lowest fitted loss less that of the dense model with 95 percent bands against experts, one colour "
        "a budget.",
    )


def loss_numbers(study: Study, best: pd.DataFrame, found: Verdicts, named: Names) -> dict[str, Any]:
    """The slope of the lowest loss against sparsity, by budget, and where it turns.

    Args:
        study: the surfaces.
        best: what ``best_sizes.best_sizes`` returns.
        found: the verdicts.
        named: names of budgets.
    """
    slope = found["slope-by-c"].findings
    active = best[best["size"] == "N_a"]
    turns = active[active.groupby("budget_name", sort=False)["loss"].transform("min") == active["loss"]]
    where = zip(turns["n_experts"], turns["budget_name"], strict=True)
    return {
        "if_slope": (slope[0].text or slope[0].open) if slope else "not to be had from one budget",
        "if_slope_word": found["slope-by-c"].text,
        "if_slopes": ", ".join(f"{values[0]:+.3f} at {named(budget)}" for budget, values in loss_slopes(study)),
        "if_turns": ", ".join(f"{e} at {budget}" for e, budget in where),
    }


def best_experts(study: Study, named: Names) -> pd.DataFrame:
    """The best number of experts at each total size and budget, for one active expert, with bands."""
    return pd.concat(
        figures.sparsity_path(surface, named(budget))
        for (budget, v), surface in study.surfaces.items()
        if v == "total_params"
    )


def best_experts_figure(by_size: pd.DataFrame, found: Verdicts) -> alt.LayerChart:
    """The same as lines."""
    return figures.best_experts_by_size(
        by_size,
        title=f"Larger models want more experts at {times(found, 's-by-n')} budgets",
        description="Best number of experts for one active expert against total parameters, with 95 percent bands, one "
        "colour a budget.",
    )


def best_experts_numbers(by_size: pd.DataFrame, found: Verdicts) -> dict[str, Any]:
    """How the best sparsity moves with the budget, and where it is dense."""
    by_c = found["s-by-c"]
    smallest = by_size.groupby("budget_name", sort=False).first()
    moves = {"reproduced": "to the right", "contradicted": "to the left"}
    return {
        "if_by_c": "; ".join(f"{f.where}: {f.text or f.open}" for f in by_c.findings) or "one budget cannot say",
        "if_by_c_word": by_c.text,
        "if_small": f"{(smallest['best'] == 1).sum()} of {len(smallest)}",
        "if_moves": moves.get(by_c.word, "no certain way"),
    }


def finding_numbers(study: Study, found: Verdicts) -> dict[str, Any]:
    """What sparsity does at the largest budget, for the chapter's first screen."""
    return {
        f"if_last_{name}": found[key].findings[-1].text or found[key].findings[-1].open
        for name, key in (("total", "n-by-s"), ("active", "na-by-s"), ("loss", "loss-by-s"), ("sparsest", "s-to-one"))
    } | {"if_last_budget": budget_label(study.landscapes[-1].budget)}


def times(found: Verdicts, key: str, word: str = "reproduced") -> str:
    """How often a word was given, such as ``2 of 3``."""
    words = found[key].words
    return f"{list(words).count(word)} of {len(words)}"
