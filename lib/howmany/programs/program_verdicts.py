"""Claims on sparsity asked of the program text, where its surfaces hold optima, beside placebos."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from howmany.abnar import verdicts
from howmany.claims import read_claims
from howmany.programs.program_text import FINE, Programs
from howmany.study import PLAIN, Design, Study, of_design, study_of_runs, written
from howmany.verdict import Judged

CLAIMS = ("na-by-s", "loss-by-s", "s-to-one", "slope-by-c", "multiplier", "g-one")
OF_DESIGNS = ("g-one",)
"""Claims that hold designs against each other; they are asked once."""

_WIDTHS = 5  # of every design at a budget: fewer, and a surface of four coefficients and more has too few runs


def judged(found: Programs, claims_files: Sequence[str], placebos: int, bootstrap: int) -> list[Judged]:
    """The verdicts of the budgets whose designs all have five sizes, for each design.

    Args:
        found: the runs and valleys.
        claims_files: claims of Abnar et al. and of Krajewski et al.
        placebos: draws of the noise of a placebo, in which a mixture is the dense model of its active size.
        bootstrap: refits of each surface.
    """
    claims = {each.key: each for file in claims_files for each in read_claims(file) if each.key in CLAIMS}
    budgets = [each.budget for each in found.valleys if min(each.widths) >= _WIDTHS]
    runs = found.runs[found.runs["budget"].isin(budgets)]
    said: list[Judged] = []
    for design in (PLAIN, FINE):
        asked = [claims[key] for key in CLAIMS if key not in OF_DESIGNS or design == PLAIN]
        study = _study(f"program text, {written(design)}", runs, design, bootstrap)
        draws = [
            _study(f"placebo {seed}", _placebo(found, budgets, seed), design, bootstrap) for seed in range(placebos)
        ]
        said += verdicts(asked, study, {"dense curve": draws})
    return said


def _study(name: str, runs: pd.DataFrame, design: Design, bootstrap: int) -> Study:
    return replace(study_of_runs(name, of_design(runs, design), bootstrap, design=design), every=runs)


def _placebo(found: Programs, budgets: Sequence[float], seed: int) -> pd.DataFrame:
    """The runs with the dense valley's losses, and the scatter of the runs about their valley: there are no seeds."""
    rng, parts = np.random.default_rng(1000 + seed), []
    for each in found.valleys:
        if each.budget in budgets:
            runs = found.runs[found.runs["budget"] == each.budget]
            parts.append(runs.assign(loss=each.placebo + each.scatter * rng.normal(size=len(runs))))
    return pd.concat(parts, ignore_index=True)


def told_apart(said: Sequence[Judged]) -> list[Judged]:
    """The same, each claim with the design that it was asked of, for a table that has both."""
    names = {f"program text, {written(design)}": word for design, word in ((PLAIN, "whole"), (FINE, "halves"))}
    return [
        replace(each, claim=replace(each.claim, statement=f"{names[each.by]}: {each.claim.statement}"))
        if each.claim.key not in OF_DESIGNS
        else each
        for each in said
    ]


def words(said: Sequence[Judged]) -> dict[str, Any]:
    """The words of the claims for sentences: whole and halved experts."""
    by = {(each.claim.key, each.by): each.text for each in said}
    return {
        f"pt_word_{key.replace('-', '_')}_{name}": by.get((key, f"program text, {written(design)}"), "")
        for key in CLAIMS
        for name, design in (("whole", PLAIN), ("halves", FINE))
    }
