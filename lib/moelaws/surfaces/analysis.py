"""The isoFLOP analysis of a whole run table: its budgets, the loss surface of each, and the optima on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.quote import number_of
from moelaws.runs import finished
from moelaws.runs.budgets import FEWEST_SIZES, TOLERANCE
from moelaws.stages import counted
from moelaws.surfaces.budget import check, completed
from moelaws.surfaces.isoflop import fit_surface
from moelaws.surfaces.nominal import Design, EqualBudgets, by_design, equal_budgets, mixed_designs, told
from moelaws.surfaces.polynomial import Degree, SurfaceError
from moelaws.surfaces.report.isoflop_result import Budget, IsoflopResult
from moelaws.surfaces.tried import Tried
from moelaws.surfaces.valley import optima


@dataclass(frozen=True)
class IsoflopOptions:
    """How runs are sorted into budgets, and what is fitted to those of one.

    Attributes:
        tolerance: by which share the FLOPs of one budget may differ.
        degree: highest powers of ln N, -ln(1 - S) and their product; by default chosen by cross-validation.
        every_run: fit all finished runs, those that no one curve can hold too.
        by: columns that part the mixtures of a budget into designs with a surface each, such as ``top_k`` and
            ``granularity``; dense runs belong to each design.
    """

    tolerance: float = TOLERANCE
    degree: Degree | None = None
    every_run: bool = False
    by: Sequence[str] = ()


def isoflop(
    runs: pd.DataFrame, variable: str = "total_params", budgets: Sequence[float] = (), sizes: Sequence[float] = (),
    bootstrap: int = 1000, seed: int = 0, options: IsoflopOptions | None = None,
) -> IsoflopResult:  # fmt: skip
    """Find the best size at every budget and sparsity of a run table.

    Runs are sorted into budgets of equal FLOPs; each budget gets a loss surface over size and sparsity, see
    ``fit_surface``, and at every sparsity the size of lowest loss is read from it, or why there is none.

        >>> import numpy as np, pandas as pd
        >>> from moelaws import isoflop
        >>> sizes = np.geomspace(1e7, 1e9, 9)
        >>> losses = 3 + 0.02 * np.log(sizes / 1e8) ** 2
        >>> found = isoflop(pd.DataFrame({"total_params": sizes, "loss": losses, "train_flops": 1e18}), bootstrap=0)
        >>> print(found.optima.round(3)[["budget", "sparsity", "n", "loss"]].to_string(index=False))
        budget  sparsity           n  loss
        1.000000e+18       0.0 100000000.0   3.0

    Args:
        runs: a run table with ``loss``, sizes, FLOPs or what they follow from, and for mixtures ``sparsity`` or what it
            follows from. Runs that did not finish are counted and left out.
        variable: the column of sizes, ``total_params`` or ``active_params``.
        budgets: fit these only, in FLOPs, a run belonging to the nearest; by default runs are grouped by their FLOPs.
        sizes: find the best sparsity at these sizes, too.
        bootstrap: refits for the intervals; 0 for none.
        seed: of the refits.
        options: what else can be chosen.

    Returns:
        The result: ``optima``, ``surfaces``, ``to_dict()``; printed, it is what ``moelaws isoflop`` says.

    Raises:
        SurfaceError: a missing column, a value that no run can have, no finished run, a budget without runs, or runs
            that do not determine a surface of the degree asked for.
    """
    options = options or IsoflopOptions()
    runs, derived = completed(runs)
    # A run that did not finish may have no budget of its own to be grouped by; it is counted, not fitted.
    ended = finished(runs)
    if ended.empty:
        raise SurfaceError(f"no finished run among the {number_of(len(runs), 'row')} kept")
    check(ended, variable)
    by_budget = _by_budget(ended, variable, budgets, options.tolerance)
    groups = [
        (float(str(flops)), design, runs)
        for flops, group in by_budget.runs.groupby("budget")
        for design, runs in by_design(group, options.by)
    ]

    def fitted(flops: float, design: Design, group: pd.DataFrame) -> Budget:
        few = _few_sizes(group, variable)
        if few is not None:
            return Budget(flops, len(group), few, design=design)
        try:
            surface = fit_surface(group, variable, options.degree, bootstrap, seed, options.every_run)
            best = tuple(surface.best_sparsity(size) for size in sizes)
        except SurfaceError as error:
            raise SurfaceError(f"{told(flops, design)}: {error}") from None
        return Budget(flops, len(group), optima(surface), surface, best, design)

    return IsoflopResult(
        variable=variable,
        budgets=tuple(fitted(*each) for each in counted(groups, "fitting the surface of each budget", len(groups))),
        sorted=by_budget,
        tolerance=options.tolerance,
        unfinished=len(runs) - len(ended),
        derived=derived,
        bootstrap=bootstrap,
        seed=seed,
        mixed="" if options.by else mixed_designs(by_budget.runs),
    )


def _by_budget(ended: pd.DataFrame, variable: str, budgets: Sequence[float], tolerance: float) -> EqualBudgets:
    found = equal_budgets(ended, variable, budgets, tolerance)
    missing = [c for c in budgets if not np.isclose(found.budgets["budget"], c).any()]
    if missing:
        there = equal_budgets(ended, variable, (), tolerance).budgets["budget"]
        named = ", ".join(f"{label:.4g}" for label in there[:8]) + (", ..." if len(there) > 8 else "")
        raise SurfaceError(f"no runs of budget {missing[0]:.4g}; the table has {named} FLOPs")
    return found


def _few_sizes(runs: pd.DataFrame, variable: str) -> pd.DataFrame | None:
    """What a budget has at which no sparsity has the sizes for an optimum; nothing for another one."""
    tried = Tried(runs, variable)
    sizes = {s: tried.at(s) for s in tried.sparsities}
    if max(map(len, sizes.values())) >= FEWEST_SIZES:
        return None
    rows = [
        {"sparsity": s, "runs": int((runs["sparsity"] == s).sum()), "status": "few sizes", "sizes": len(n)}
        | {"smallest": n[0], "largest": n[-1]}
        for s, n in sizes.items()
    ]
    return pd.DataFrame(rows)
