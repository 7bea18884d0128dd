"""Which laws a table can be asked about, and why not the others."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from moelaws.fitting.objective import FitError
from moelaws.fitting.table import Prepared, complete, prepare
from moelaws.laws import LAWS, Law, LawError
from moelaws.laws import law as law_named
from moelaws.quote import number_of, shown

SAME_FORM = {"sardana2024": "hoffmann2022", "liew2025_scratch": "hoffmann2022"}
"""Laws whose formula is another's in other letters: on the same columns they are one fit."""


def contestants(laws: Iterable[Law | str] | Law | str | None, runs: pd.DataFrame) -> tuple[list[Law], dict[str, str]]:
    """The laws that a table can be asked about.

    Args:
        laws: laws or their names; ``None`` for every law that predicts the loss.
        runs: finished runs.

    Returns:
        The laws, and name -> why not, of the others.

    Raises:
        FitError: laws of different targets, or no law.
        LawError: a name that no law has.
    """
    chosen = _chosen(laws)
    if len({each.target for each in chosen}) != 1:
        raise FitError("compare: the laws must predict the same column, and there must be one")
    found: list[Law] = []
    refused: dict[str, str] = {}
    taken: dict[str, Prepared] = {}
    for each in chosen:
        if each.name in taken or each.name in refused:
            raise FitError(f"compare: two laws are called {shown(each.name)}")
        refused_for = _lacks(each, runs) if len(chosen) > 1 else ""
        if not refused_for:
            try:
                prepared = prepare(each, runs, objective="lsq-log")
                refused_for = _why_not(each, prepared)
                twin = SAME_FORM.get(each.name) if laws is None else None
                if twin in taken and _same(prepared, taken[twin]):
                    refused_for = f"the same function of the same numbers as {twin}"
                taken[each.name] = prepared
            except (FitError, LawError) as error:
                refused_for = str(error)
        if refused_for:
            refused[each.name] = refused_for
        else:
            found.append(each)
    if not found:
        name, why = next(iter(refused.items()))
        raise FitError(why if len(refused) == 1 else f"none of {len(refused)} laws can be fitted; {name}: {why}")
    return found, refused


def _lacks(law: Law, runs: pd.DataFrame) -> str:
    """What a law wants of a table that has it not, or the same in all rows, in a few words; empty where it has all."""
    known, _ = complete(law, runs)
    for variable in law.variables:
        column = next((name for name in variable.columns if name in known.columns), None)
        if column is None:
            return f"no column {' or '.join(map(repr, variable.columns))}"
        if len(known) > 1 and known[column].nunique(dropna=False) == 1:
            return f"column {column!r} does not vary"
    return ""


def _same(one: Prepared, other: Prepared) -> bool:
    mine, theirs = (sorted(map(tuple, each.data.values())) for each in (one, other))
    return mine == theirs


def _chosen(laws: Iterable[Law | str] | Law | str | None) -> list[Law]:
    if laws is None:
        return [each for each in LAWS.values() if each.target == "loss"]
    if isinstance(laws, Law | str):
        laws = [laws]
    return [law_named(each) if isinstance(each, str) else each for each in laws]


def _why_not(law: Law, prepared: Prepared) -> str:
    if not prepared.data:
        return "it has no variable: nothing of a run enters it"
    runs, parameters = len(prepared.target), len(law.parameters)
    points = len(np.unique(np.stack(list(prepared.data.values()), axis=1), axis=0))
    if runs < parameters + 2:
        return (
            f"{number_of(runs, 'run')} for {number_of(parameters, 'parameter')} and the noise: at least"
            f" {parameters + 2} are needed"
        )
    if points < parameters:
        return f"the runs lie at {number_of(points, 'design point')}, fewer than its {parameters} parameters"
    return ""
