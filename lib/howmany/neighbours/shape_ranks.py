"""Shapes of models at two widths: do they rank alike?"""

import numpy as np
import pandas as pd
from scipy import stats

from howmany.neighbours.cells import SHAPE, Cells
from howmany.verdict import Finding, finding
from moelaws.charts.tables import readable
from moelaws.runs import finished, read_runs

NEEDED = ("loss", "d_model", "n_layers", "n_heads", "d_ff", "seed")


def ranking(shapes: Cells, rng: np.random.Generator, shuffled: bool = False) -> Finding:
    """Spearman's correlation of the losses of the same shapes at the two widths, with its interval."""
    table = shapes.means.pivot(index=SHAPE, columns="d_model", values=["loss", "runs"]).dropna()
    sides = [table["loss"][width].to_numpy() for width in table["loss"]]
    if shuffled:
        sides[1] = rng.permutation(sides[1])
    counts = [table["runs"][width].to_numpy() for width in table["runs"]]
    drawn = [shapes.drawn(side, count, rng) for side, count in zip(sides, counts, strict=True)]
    ranks = [stats.rankdata(each, axis=1) for each in drawn]
    centred = [each - each.mean(1, keepdims=True) for each in ranks]
    scale = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    rho = (centred[0] * centred[1]).sum(1) / scale
    widths = " and ".join(f"d = {width}" for width in table["loss"])
    return finding(widths, rho)


def seeds_alike(runs_file: str) -> dict[int, float]:
    """What a ranking can be: Spearman's correlation of two seeds at one width, by width."""
    runs = finished(read_runs(runs_file, required=NEEDED))
    found = {}
    for width in sorted(map(int, runs["d_model"].unique())):
        group = runs[runs["d_model"] == width]
        table = group.pivot_table(index=["n_layers", "n_heads", "d_ff"], columns="seed", values="loss").dropna()
        found[width] = float(stats.spearmanr(*table.to_numpy().T).statistic)
    return found


def shape_table(shapes: Cells) -> pd.DataFrame:
    """Each shape's rank and loss at the two widths."""
    table = shapes.means.pivot(index=SHAPE, columns="d_model", values="loss").dropna()
    ranks = table.rank().astype(int)
    made = pd.DataFrame(
        {
            f"d = {width}, {what}": values[width]
            for width in table
            for what, values in (("rank", ranks), ("loss", table))
        }
    ).sort_values(f"d = {table.columns[0]}, rank")
    made.index = made.index.set_names(["layers", "head width", "d_ff / d"])
    return readable(made, "{:.0f}", {str(name): "{:.3f}" for name in made if str(name).endswith("loss")})
