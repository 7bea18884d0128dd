"""How the errors of forecasts grow with the steps that they look ahead."""

from typing import Any

import altair as alt
import pandas as pd

from howmany.figures.steps_ahead import steps_ahead
from howmany.forecasts.how_far import ALONE, BESIDE, COLOURS, ENOUGH, LAWS, Ladder, law_name


def table(made: list[Ladder]) -> pd.DataFrame:
    """How the error grows with the steps ahead: from three budgets on, laws alone and with their process."""
    rows = []
    for each in made:
        for (count, steps), group in _of_laws(each).groupby(["known", "steps"]):
            row: dict[str, Any] = {"text": each.name, "budgets known": count, "steps ahead": steps}
            for process, word in ((False, ALONE), (True, BESIDE)):
                errors = group.loc[group["process"] == process, "rmse"]
                row[word] = f"{errors.median():.3f} ({errors.min():.3f} to {errors.max():.3f})"
            inside = group.loc[group["process"], "coverage"]
            rows.append(row | {"in its band": f"{100 * inside.min():.0f} to {100 * inside.max():.0f} %"})
    return pd.DataFrame(rows).set_index("text")


def figure(made: list[Ladder]) -> alt.FacetChart:
    """The same as points: median, best and worst of the laws against the steps ahead, a panel a text and origin."""
    parts = []
    for each in made:
        groups = _of_laws(each).groupby(["known", "steps", "process"])["rmse"]
        found = groups.agg(["median", "min", "max"]).reset_index()
        found["by"] = found["process"].map({False: ALONE, True: BESIDE})
        parts.append(found.assign(panel=each.name + ", " + found["known"].astype(str) + " budgets known"))
    points = pd.concat(parts)
    worst = points.groupby("by")["max"].max()
    return steps_ahead(
        points.drop(columns="process"),
        {ALONE: COLOURS[ALONE], BESIDE: COLOURS[BESIDE]},
        title=f"Further ahead laws miss by up to {worst[ALONE]:.0%} alone, {worst[BESIDE]:.0%} with their process",
        description="Error of the forecast against the number of budgets it looks ahead, median and range over the "
        "laws, alone and with their process, a panel for each text and number of budgets known.",
    )


def _of_laws(each: Ladder) -> pd.DataFrame:
    """The scores of the laws from two budgets on."""
    return each.scores[(each.scores["known"] >= ENOUGH - 1) & each.scores["law"].isin(set(map(law_name, LAWS)))]
