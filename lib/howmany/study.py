"""A study: the runs of one text at several budgets, with the surface and the landscape of each."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd
from scipy.special import chdtri

from howmany.budget_optima import Landscape, of_law, of_surfaces
from howmany.verdicts.blind_law import without_experts
from moelaws.fitting.fit import fit
from moelaws.fitting.result import FitResult
from moelaws.optimum.family import proportional
from moelaws.optimum.forecaster import Forecaster
from moelaws.runs import finished
from moelaws.runs.seeds import pooled_variance
from moelaws.surfaces.isoflop import equal_budgets, fit_surface
from moelaws.surfaces.polynomial import SurfaceError
from moelaws.surfaces.surface import Surface

TEXT = "English and code"
"""Name of the study of the book's first text."""

SIZES = ("total_params", "active_params")

Design = tuple[int, float]
"""K and G: how many experts a token goes to, and into how many parts an expert of full width is cut."""

PLAIN: Design = (1, 1.0)
"""One expert of full width."""

PAPER_BUDGETS = (3e19, 6e19, 1e20, 3e20, 1e21)
PAPER_SPARSITIES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)
"""Budgets and sparsities of Abnar et al. 2025, Table 1."""

_PAPER_SIZES = (1e7, 1e11)
_FEWEST_SPARSITIES = 3


@dataclass(frozen=True)
class Study:
    """Everything that verdicts on isoFLOP claims are computed from.

    Attributes:
        name: of the text, or of the law.
        runs: the finished runs of its design, the dense ones among them; without rows for a law.
        surfaces: (budget, column of sizes) -> surface.
        landscapes: one a budget, in increasing order.
        left_out: budget -> why it has no surface.
        held_out: budgets that no law is fitted to.
        probes: what ``runs.probed.read_probes`` returns, for models of these runs; ``None`` where nothing was asked.
        design: K and G of the mixtures.
        every: the finished runs of all designs that the table holds.
    """

    name: str
    runs: pd.DataFrame
    surfaces: Mapping[tuple[float, str], Surface]
    landscapes: tuple[Landscape, ...]
    left_out: Mapping[float, str]
    held_out: Collection[float]
    probes: pd.DataFrame | None = None
    design: Design = PLAIN
    every: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    @property
    def seen(self) -> pd.DataFrame:
        """The runs that a law is fitted to: all but those of held-out budgets and of the highest sparsity."""
        usable = self.runs[~self.runs["budget"].isin(self.held_out)]
        return usable[usable["sparsity"] < usable["sparsity"].max()]

    @property
    def unseen(self) -> pd.DataFrame:
        """The runs of the highest sparsity, held-out budgets left aside, as in the paper's Fig. 6b."""
        usable = self.runs[~self.runs["budget"].isin(self.held_out)]
        return usable[usable["sparsity"] == usable["sparsity"].max()]

    @cached_property
    def law(self) -> FitResult | None:
        """Eq. 6 fitted to ``seen`` with the paper's objective; nothing for a study without runs."""
        return fit("abnar2025", self.seen) if len(self.runs) else None


def study_of_runs(
    name: str,
    runs: pd.DataFrame,
    bootstrap: int = 1000,
    seed: int = 0,
    held_out: Collection[float] = (),
    probes: pd.DataFrame | None = None,
    design: Design = PLAIN,
) -> Study:
    """Fit the surfaces of every budget of a run table.

    Args:
        name: of the text.
        runs: a run table with ``budget``, ``loss``, ``sparsity``, ``total_params``, ``active_params``, ``top_k``. Runs
            of other designs and those that did not finish are left out. Budgets that scatter are grouped.
        bootstrap: refits of each surface.
        seed: of the refits.
        held_out: budgets that no law is to be fitted to; their surfaces are made all the same.
        probes: what ``runs.probed.read_probes`` returns, for models of these runs.
        design: K and G. Dense runs belong to each design.

    Returns:
        The study. A budget with fewer than three sparsities, or with too few sizes for any surface, is left out and
        named, because a sweep under way has one.

    Raises:
        SurfaceError: no budget has a surface.
    """
    every = finished(runs)
    if len(every):
        every = equal_budgets(every).runs
    ended = of_design(every, design)
    surfaces: dict[tuple[float, str], Surface] = {}
    landscapes, left_out = [], {}
    # Each budget redraws its own noise: with one seed for all, the refits of budgets would move together.
    for position, (budget, group) in enumerate(ended.groupby("budget")):
        here = float(str(budget))
        if group["sparsity"].nunique() < _FEWEST_SPARSITIES:
            left_out[here] = f"{group['sparsity'].nunique()} of the sparsities so far, expected three or more"
            continue
        try:
            pair = [
                fit_surface(group, variable, bootstrap=bootstrap, seed=1000 * seed + position) for variable in SIZES
            ]
            landscapes.append(of_surfaces(*pair))
        except SurfaceError as error:
            left_out[here] = str(error)
            continue
        surfaces |= {(here, variable): surface for variable, surface in zip(SIZES, pair, strict=True)}
    if not landscapes:
        reasons = "; ".join(f"{budget:g} FLOPs: {reason}" for budget, reason in left_out.items())
        raise SurfaceError(f"{name}: no budget has a surface ({reasons or f'no finished runs with {written(design)}'})")
    return Study(name, ended, surfaces, tuple(landscapes), left_out, held_out, probes, design, every)


def of_design(runs: pd.DataFrame, design: Design) -> pd.DataFrame:
    """The runs with K and G of a design, and the dense ones, which are of each design."""
    granularity = runs["granularity"] if "granularity" in runs.columns else 1.0
    return runs[(runs["sparsity"] == 0) | ((runs["top_k"] == design[0]) & (granularity == design[1]))]


def designs_of(runs: pd.DataFrame) -> list[Design]:
    """K and G of the mixtures of a table, the plain design first."""
    mixtures = runs[runs["sparsity"] > 0]
    granularity = mixtures["granularity"] if "granularity" in runs.columns else pd.Series(1.0, mixtures.index)
    return sorted(set(zip(mixtures["top_k"].astype(int), granularity.astype(float), strict=True)))


def written(design: Design) -> str:
    """A design as tables write it, such as ``K = 2, G = 4``."""
    return f"K = {design[0]}, G = {design[1]:g}"


def study_of_law(name: str = "the paper's own law", experts: bool = True) -> Study:
    """The published law of Abnar et al. 2025 (Eq. 6, Table 3), asked what its paper says, at the paper's budgets.

    Args:
        name: of the study.
        experts: whether experts do anything; without, it is the law's placebo.
    """
    forecaster = Forecaster("abnar2025", family=proportional())
    if not experts:
        forecaster = without_experts(forecaster)
    landscapes = tuple(of_law(forecaster, c, PAPER_SPARSITIES, _PAPER_SIZES) for c in PAPER_BUDGETS)
    return Study(name, pd.DataFrame(), {}, landscapes, {}, ())


def budget_label(budget: float) -> str:
    """A budget as tables write it, such as ``3e11``."""
    mantissa, exponent = f"{budget:.1e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def seed_variance(runs: pd.DataFrame) -> pd.DataFrame:
    """Variance of the loss between seeds, pooled over the points that have several, by budget.

    Args:
        runs: finished runs with ``budget``, ``total_params``, ``sparsity``, ``loss``.

    Returns:
        One row a budget: ``budget``, ``points`` (with several seeds), ``freedom`` (degrees of freedom) and
        ``variance`` (nats squared) with its 95 % interval ``low``, ``high`` if the noise is normal; NaN without such
        a point.
    """
    points = runs.groupby(["budget", "total_params", "sparsity"])["loss"].agg(["size", "var"]).reset_index()
    rows = []
    for budget, here in points.groupby("budget"):
        freedom = here["size"] - 1
        row = {"budget": budget, "points": int((freedom > 0).sum()), "freedom": int(freedom.sum())}
        rows.append(row | {"variance": float(pooled_variance(here["var"], freedom))})
    table = pd.DataFrame(rows, columns=["budget", "points", "freedom", "variance"])
    known = table["freedom"].where(table["freedom"] > 0)
    ends = {name: known / chdtri(known, tail) * table["variance"] for name, tail in (("low", 0.025), ("high", 0.975))}
    return table.assign(**ends)
