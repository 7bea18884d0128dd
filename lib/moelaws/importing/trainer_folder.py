"""Runs of Hugging Face's ``Trainer``: the last ``trainer_state.json`` of each, and the model's ``config.json``."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from moelaws.exchange.config_fields import ConfigFileError
from moelaws.exchange.model_count import count
from moelaws.importing.export import Export
from moelaws.importing.run_folders import files_in, json_object, model_config, name_of, run_of
from moelaws.quote import plain
from moelaws.runs.error import RunTableError

STATE = "trainer_state.json"

_TRAINING_LOSS = "loss"
_OF_ALL_STEPS = ("train_loss", "train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos")
"""What the last entry of a log says of the whole training; its loss is a mean over all steps."""


def read_trainer(folder: Path) -> Export:
    """Read a folder of such runs.

    Args:
        folder: with runs in it or below, each with a ``trainer_state.json`` or with checkpoints that hold one.

    Returns:
        A row a run, as far as it came: the last value of everything it logged.

    Raises:
        RunTableError: no such runs, or a file that is not what its name says.
    """
    last: dict[Path, tuple[int, Path, dict[str, Any]]] = {}
    for file in files_in(folder, STATE):
        state = json_object(file, folder)
        run, step = run_of(file, folder), _whole(state.get("global_step"))
        if run not in last or step >= last[run][0]:
            last[run] = step, file.parent, state
    if not last:
        raise RunTableError(f"{plain(folder)}: no {STATE} in this folder or below; expected one for each run")
    rows, configs = [], []
    for run, (step, place, state) in last.items():
        config = next((json_object(file, folder) for file in model_config(run, place)), None)
        rows.append(_row(name_of(run, folder), step, state, config))
        configs.append(config)
    return Export(_frame(rows), tuple(configs), _notes(rows))


def _row(name: str, step: int, state: Mapping[str, Any], config: Mapping[str, Any] | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "step": step}
    log = state.get("log_history")
    for entry in log if isinstance(log, list) else []:
        if isinstance(entry, dict):
            row |= {key: value for key, value in entry.items() if key not in _OF_ALL_STEPS and key != "step"}
    wanted = _whole(state.get("max_steps"))
    diverged = _TRAINING_LOSS in row and row[_TRAINING_LOSS] is None
    row["status"] = "diverged" if diverged else "unfinished" if step < wanted else "finished"
    seen, flops = _number(state.get("num_input_tokens_seen")), _number(state.get("total_flos"))
    if seen > 0:
        row["num_input_tokens_seen"] = seen
    elif flops > 0 and (size := _counted_size(config)):
        # transformers adds up 6 (N - embeddings) tokens, idle experts included.
        row["num_input_tokens_seen"] = flops / (6 * size)
        row["_from_flops"] = True
    return row


def _counted_size(config: Mapping[str, Any] | None) -> int:
    try:
        return count(config).parameters.total - count(config).parameters.embedding if config else 0
    except ConfigFileError:
        return 0


def _notes(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    notes = []
    if any(row.pop("_from_flops", False) for row in rows):
        notes.append("tokens: total_flos over six times the parameters that Trainer multiplies by, where it kept none")
    held_out = [any(key.startswith("eval_") and key.endswith("loss") for key in row) for row in rows]
    if not any(held_out):
        notes.append("loss: the last training loss that was logged; no run has an eval_loss")
    return tuple(notes)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    cells = pd.DataFrame([{key: _cell(value) for key, value in row.items() if key != "_from_flops"} for row in rows])
    cells.index = pd.RangeIndex(1, len(cells) + 1)
    return cells.astype(object).where(cells.notna(), None)


def _cell(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else repr(value)


def _whole(value: Any) -> int:
    return int(_number(value))


def _number(value: Any) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if usable and math.isfinite(value) else 0.0
