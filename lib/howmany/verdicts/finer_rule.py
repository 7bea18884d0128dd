"""The rule on finer experts, fixed before their runs: when "the sparsest is best" is no longer contradicted.

If the slope of L* at K = G = 2 stays negative up to S = .99 at two budgets or more, then what K = G = 1 contradicts was
the experts' width and not sparsity, and "contradicted" is withdrawn for the claims below.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from howmany.study import Design, Study, of_design, study_of_runs
from howmany.verdict import Finding, Judged, finding
from moelaws.surfaces.polynomial import SurfaceError

CLAIMS = ("loss-by-s", "s-to-one")
DESIGN: Design = (2, 2.0)
SPARSE, BUDGETS = 0.99, 2
_REFITS = 300


@dataclass(frozen=True)
class Ruling:
    """What the runs with K = G = 2 say.

    Attributes:
        findings: one a budget with runs of S = .99 or more: L* at the highest sparsity less the lowest L* elsewhere.
        edges: for each, whether one of these two optima lies at an edge of the sizes tried, so that L* is a bound.
    """

    findings: tuple[Finding, ...]
    edges: tuple[bool, ...]

    @property
    def falling(self) -> int:
        """At how many budgets L* falls to the highest sparsity, beyond chance."""
        return sum(each.high < 0 for each in self.findings)

    @property
    def withdrawn(self) -> bool:
        """Whether "contradicted" is withdrawn."""
        return self.falling >= BUDGETS


def design_study(every: pd.DataFrame, design: Design, name: str = "", bootstrap: int = _REFITS) -> Study | None:
    """The study of one design, at the budgets at which its mixtures were trained; nothing where none has a surface.

    Args:
        every: finished runs of all designs, with dense ones.
        design: K and G.
        name: of the study.
        bootstrap: refits of each surface.
    """
    runs = of_design(every, design)
    trained = runs.loc[runs["sparsity"] > 0, "budget"].unique()
    try:
        study = study_of_runs(name, runs[runs["budget"].isin(trained)], bootstrap, design=design)
    except SurfaceError:
        return None
    return replace(study, every=every)


def ruling(every: pd.DataFrame) -> Ruling:
    """Apply the rule to runs.

    Args:
        every: finished runs of all designs.
    """
    study = design_study(every, DESIGN) if "granularity" in every.columns else None
    found, edges = [], []
    for each in study.landscapes if study else ():
        path = each.lowest
        if -np.expm1(-path.along[-1]) < SPARSE:
            continue
        other = int(np.argmin(path.loss[:-1, 0]))
        found.append(finding(f"{each.budget:.0e}".replace("e+", "e"), path.loss[-1] - path.loss[other], "nats"))
        edges.append(not bool(path.inside[[other, -1]].all()))
    return Ruling(tuple(found), tuple(edges))


def ruled(judged: Sequence[Judged], every: pd.DataFrame) -> list[Judged]:
    """The verdicts of K = G = 1, "contradicted" withdrawn where the rule says so.

    Args:
        judged: of a study of runs.
        every: finished runs of all designs of the same text.
    """
    asked = [each for each in judged if each.claim.key in CLAIMS and each.word == "contradicted"]
    if not asked or not ruling(every).withdrawn:
        return list(judged)
    why = "withdrawn: at K = G = 2 the lowest loss falls up to S = .99 at two budgets or more"
    return [replace(each, word="not resolved", reason=why) if each in asked else each for each in judged]
