"""Finer and more experts: the lowest loss by sparsity for each (K, G), its slope, and the rule that was fixed on it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import pandas as pd

from howmany.abnar import verdicts
from howmany.claims import read_claims
from howmany.figures.finer_paths import lowest_losses
from howmany.figures.optima_by_experts import loss_change
from howmany.granularity.design_slopes import early_slopes, slope_row, sparsity_words
from howmany.page import listed, verdict_table
from howmany.study import PLAIN, TEXT, Study, budget_label, designs_of, written
from howmany.verdict import Judged, finding
from howmany.verdicts.finer_rule import DESIGN, SPARSE, Ruling, design_study
from howmany.verdicts.placebo import dense_runs, placebo_studies
from moelaws.charts.losses import budget_name
from moelaws.charts.tables import readable
from moelaws.runs import finished, read_runs

NEEDED = ("loss", "budget", "d_model", "sparsity", "top_k", "granularity", "active_params", "total_params")
"""Columns that the tables must have."""

BY_DESIGN = ("na-by-s", "loss-by-s", "s-to-one")
"""Claims of Abnar et al. 2025 that are asked of each design."""

OF_DESIGNS = ("k-and-g", "g-one")
"""Claims that hold designs against each other."""


def runs_of(files: Sequence[str]) -> pd.DataFrame:
    """The finished runs of several tables."""
    return pd.concat([finished(read_runs(file, required=NEEDED)) for file in files], ignore_index=True)


def studies(every: pd.DataFrame, bootstrap: int) -> dict[str, Study]:
    """The surfaces of each design at the budgets at which it was trained, dense runs among them.

    The plain design is kept at the budgets that others have too.
    """
    shared = every.loc[(every["sparsity"] > 0) & (every["granularity"] > 1), "budget"].unique()
    found = {}
    for design in designs_of(every):
        study = design_study(every[every["budget"].isin(shared)], design, written(design), bootstrap)
        if study is not None:
            found[written(design)] = study
    return found


def slopes(found: Mapping[str, Study]) -> pd.DataFrame:
    """The slope of L* against sparsity, by design and budget.

    Returns:
        A row of ``slope_row`` for each design and budget.
    """
    rows = [
        slope_row(design, each.budget, each.lowest.along, each.lowest.loss, each.lowest.inside)
        for design, study in found.items()
        for each in study.landscapes
    ]
    return pd.DataFrame(filter(None, rows)).sort_values(["budget", "design"], ignore_index=True)


def path_figure(found: Mapping[str, Study], table: pd.DataFrame) -> alt.FacetChart:
    """L* less that of the dense model against sparsity, a panel a budget, a line a design."""
    paths = pd.concat(
        loss_change(each, design).assign(budget=each.budget, panel=budget_name(each.budget))
        for design, study in found.items()
        for each in study.landscapes
    )
    fine = table[table["design"] == written(DESIGN)]
    ends = listed(dict.fromkeys(sparsity_words(s) for s in fine["best"]))
    return lowest_losses(
        paths.sort_values("budget"),
        title=f"At K = G = 2 the loss is lowest at S = {ends}",
        description="Lowest loss less that of the dense model against one over one minus the sparsity, a line a design "
        "with 95 percent bands, a panel a budget; hollow where an optimum lies at an edge of the sizes.",
    )


def judged(
    found: Mapping[str, Study], claims_files: Sequence[str], every: pd.DataFrame, placebos: int
) -> dict[str, list[Judged]]:
    """The claims that hold designs against each other, by the text's runs, and those of each finer design.

    Args:
        found: design -> its study.
        claims_files: tables of claims.
        every: the runs of all designs.
        placebos: draws of the placebos' noise.
    """
    claims = {claim.key: claim for file in claims_files for claim in read_claims(file)}
    plain = found[written(PLAIN)]
    text = Study(TEXT, plain.runs, {}, (), {}, (), every=every)
    made = (dense_runs(every, draw) for draw in range(1, placebos + 1))
    blind = {"dense curve": [replace(text, name="placebo", every=runs) for runs in made]}
    words = {TEXT: verdicts([claims[key] for key in OF_DESIGNS], text, blind)}
    for design, study in found.items():
        if study.design != PLAIN:
            asked = [claims[key] for key in BY_DESIGN]
            words[design] = verdicts(asked, study, placebo_studies(study, placebos, 100))
    return words


def by_design(found: Mapping[str, Sequence[Judged]], designs: Sequence[str]) -> pd.DataFrame:
    """The verdicts of each design by itself, a row a claim and design; texts are HTML."""
    tables = (verdict_table(found[design]).assign(design=design) for design in designs)
    return pd.concat(tables)[["claim", "design", "measured", "verdict"]].sort_values("claim", kind="stable")


def rule_numbers(rule: Ruling) -> dict[str, Any]:
    """What the rule that was fixed before the runs comes to."""
    pairs = zip(rule.findings, rule.edges, strict=True)
    said = (f"{each.text} at {each.where}{' (a bound: an optimum at an edge)' if edge else ''}" for each, edge in pairs)
    return {
        "fi_rule_found": listed(said, between="; "),
        "fi_rule_count": f"{rule.falling} of {len(rule.findings)}",
        "fi_rule_word": "is withdrawn" if rule.withdrawn else "stands",
        "fi_rule_sparse": f"{SPARSE:g}",
    }


def finding_numbers(table: pd.DataFrame, found: Mapping[str, Study]) -> dict[str, Any]:
    """What finer experts gain at each budget, and where their loss is lowest: the chapter's finding."""
    fine, plain = found[written(DESIGN)], found[written(PLAIN)]
    apart = []
    for each in fine.landscapes:
        other = next(one for one in plain.landscapes if one.budget == each.budget)
        # Refits of two studies are drawn apart, so their differences hold the noise of both.
        lowest = [path.loss.min(axis=0) for path in (each.lowest, other.lowest)]
        draws = min(map(len, lowest))
        apart.append(finding(budget_label(each.budget), lowest[0][:draws] - lowest[1][:draws], "nats"))
    most = min(apart, key=lambda one: one.high)
    return {
        "fi_gain_most": f"{most.text} at {most.where}",
        "fi_gain_count": f"{sum(one.high < 0 for one in apart)} of {len(apart)}",
        "fi_gain": listed((f"{one.text} at {one.where}" for one in apart), between="; "),
        "fi_slopes_plain": early_slopes(table, written(PLAIN), last=True),
        "fi_slopes_fine": early_slopes(table, written(DESIGN), last=True),
    }


def counts(every: pd.DataFrame) -> pd.DataFrame:
    """How many runs of mixtures each design has at each budget and sparsity."""
    mixtures = every[every["sparsity"] > 0]
    names = [written((k, g)) for k, g in zip(mixtures["top_k"], mixtures["granularity"], strict=True)]
    grid = mixtures.assign(design=names, C=mixtures["budget"].map(budget_label), S=mixtures["sparsity"].round(3))
    return readable(
        grid.pivot_table(index=["C", "design"], columns="S", values="loss", aggfunc="size", fill_value=0), "{:.0f}"
    )
