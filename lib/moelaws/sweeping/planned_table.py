"""Runs of a sweep from a table of runs to be made: what ``moelaws next --out`` writes, or a reader does."""

from pathlib import Path
from typing import Any

import pandas as pd

from moelaws.config import ConfigError
from moelaws.quote import listed, number_of, shown
from moelaws.runs import load_runs
from moelaws.sweeping.sweep import SweepRun
from moelaws.training.recipe import run_at, tiny_model

CORPUS = "sotu+docstrings"
_MOST = 10_000
_WHOLE = {"d_model": None, "n_experts": 1, "top_k": 1, "granularity": 1, "seed": 0}


def runs_of_table(path: str | Path) -> list[SweepRun]:
    """Runs of the book's family (``tiny_model``), trained by its recipe, one a row.

    Args:
        path: a table with ``d_model`` and ``train_flops`` (or ``budget``), and if wanted ``n_experts``, ``top_k``,
            ``granularity``, ``seed`` and ``corpus``.

    Returns:
        The runs, in order; the sweep has the name of the file.

    Raises:
        ValueError: a column that is missing, or a cell that is none of a run; the message names row and column.
    """
    place = Path(path)
    table = load_runs(place, {}, None, required=()).runs
    flops = next((name for name in ("train_flops", "budget") if name in table.columns), None)
    missing = "d_model" if "d_model" not in table.columns else "" if flops else "train_flops"
    if missing:
        raise ValueError(f"{place.name}: no column {missing!r}, which a run to be trained needs; it has "
                         f"{listed(table.columns, missing)}")  # fmt: skip
    if not 0 < len(table) <= _MOST:
        raise ValueError(f"{place.name}: {number_of(len(table), 'run')}; expected 1 to {_MOST}")
    assert flops is not None
    found = []
    for row, cells in enumerate(table.to_dict("records"), start=2):  # the head is row 1
        values = {name: _whole(cells.get(name, usual), place.name, row, name) for name, usual in _WHOLE.items()}
        budget = float(pd.to_numeric(cells[flops], errors="coerce"))
        if not 0 < budget < 1e30:
            raise ValueError(f"{place.name}, row {row}, {flops}: found {shown(cells[flops])}, expected FLOPs > 0")
        corpus = cells.get("corpus", CORPUS)
        try:
            model = tiny_model(values["d_model"], values["n_experts"], values["top_k"], values["granularity"])
            run = run_at(budget, model, values["seed"], corpus if isinstance(corpus, str) and corpus else CORPUS)
        except ConfigError as error:
            raise ValueError(f"{place.name}, row {row}: {error}") from None
        found.append(SweepRun(run, place.stem, budget))
    return found


def _whole(value: Any, name: str, row: int, column: str) -> int:
    number = float(pd.to_numeric(value, errors="coerce"))
    if not (0 <= number < 1e9 and number == int(number)):
        raise ValueError(f"{name}, row {row}, {column}: found {shown(value)}, expected a whole number")
    return int(number)
