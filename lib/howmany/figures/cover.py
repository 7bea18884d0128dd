"""The picture on the front page and in the README: the recorded runs and the surfaces fitted to them.

``python -m howmany.figures.cover data/runs/isoflop.csv images/cover.svg`` draws it.
"""

import sys
from pathlib import Path

import altair as alt
import pandas as pd

from moelaws.charts.cuts import surface_curves
from moelaws.charts.losses import budget_name, loss_by_size
from moelaws.runs import finished, read_runs
from moelaws.surfaces.isoflop import fit_surface

WIDTH = 640


def cover(runs: pd.DataFrame) -> alt.LayerChart:
    """Loss against active parameters for each number of experts and budget.

    Args:
        runs: finished isoFLOP runs with K = 1.
    """
    surfaces = [fit_surface(group, "active_params", bootstrap=200) for _, group in runs.groupby("budget")]
    chart = loss_by_size(
        runs.assign(budget_name=runs["budget"].map(budget_name)),
        pd.concat([surface_curves(surface) for surface in surfaces]),
        "active_params",
        title="Validation loss at equal training FLOPs",
        description="Loss against active parameters for each number of experts, at the training budgets.",
    )
    # A renderer's guess of how wide a text is may be short.
    return chart.properties(width=WIDTH, padding={"left": 5, "top": 5, "right": 25, "bottom": 5})


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    alt.theme.enable("moelaws")
    target.parent.mkdir(exist_ok=True)
    cover(finished(read_runs(source))).save(target)
