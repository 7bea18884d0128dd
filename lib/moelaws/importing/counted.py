"""Sizes and FLOPs of runs whose model's configuration is known, by ``moelaws.count``."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from moelaws.exchange.config_fields import ConfigFileError
from moelaws.exchange.model_count import ModelCount, count
from moelaws.importing.preset import Preset
from moelaws.runs.numbers import as_numbers

_SIZES = ("total_params", "active_params", "non_embedding_params", "n_experts", "top_k")
_KIND = "model_type"


def counted(
    cells: pd.DataFrame, configs: Sequence[Mapping[str, Any] | None], preset: Preset, known: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The columns that the models' configurations give and the table lacks.

    Args:
        cells: the table, under the file's names.
        configs: a configuration for each row, where files hold them; else they are read from the columns.
        preset: says which columns hold the fields of a configuration.
        known: the book's columns that the table has, as numbers.

    Returns:
        Columns that are new or fill gaps, by name, NaN where a row's model cannot be counted; sentences about them.
    """
    rows = [_config(row, own, preset) for row, own in zip(_records(cells), configs or [None] * len(cells), strict=True)]
    if not any(rows):
        return {}, []
    models: dict[str, ModelCount | str] = {}
    found = [_counted(row, models) if row else None for row in rows]
    whole = [each if isinstance(each, ModelCount) else None for each in found]
    said = [f"not counted: {each}" for each in dict.fromkeys(each for each in found if isinstance(each, str))][:1]
    if not any(whole):
        return {}, said
    # A model without its vocabulary is counted but for its embeddings: what its experts leave idle is still known.
    bare = [row is not None and row.get("vocab_size") == 1 for row in rows]
    columns = {
        "total_params": _column(whole, lambda each: each.total_params, bare),
        "active_params": _column(whole, lambda each: each.active_params, bare),
        "non_embedding_params": _column(whole, lambda each: each.parameters.total_non_embedding, None),
        "n_experts": _column(whole, lambda each: each.n_experts, None),
        "top_k": _column(whole, lambda each: each.top_k, None),
    }
    if any(bare) and "total_params" in known:
        idle = _column(whole, lambda each: each.total_params - each.active_params, None)
        columns["active_params"] = np.where(bare, known["total_params"] - idle, columns["active_params"])
    new = {
        name: columns[name]
        for name in _SIZES
        if np.isfinite(columns[name]).any()
        and (name not in known or (np.isnan(known[name]) > np.isnan(columns[name])).any())
    }
    if {"tokens", "context"} <= set(known) and "train_flops" not in known and not any(bare):
        per_token = [
            np.nan if each is None or not c >= 1 else each.training_flops_per_token(int(c))
            for each, c in zip(whole, known["context"], strict=True)
        ]
        new["train_flops"] = np.array(per_token) * known["tokens"]
    if new:
        said.insert(0, f"{', '.join(new)}: counted from the model's configuration, as moelaws count does")
    return new, said


def _column(models: Sequence[ModelCount | None], value: Any, without: Sequence[bool] | None) -> np.ndarray:
    none = without or [False] * len(models)
    return np.array([np.nan if m is None or not_known else float(value(m)) for m, not_known in zip(models, none,
                    strict=True)])  # fmt: skip


def _counted(config: Mapping[str, Any], models: dict[str, ModelCount | str]) -> ModelCount | str:
    key = json.dumps(config, sort_keys=True, default=str)
    if key not in models:
        try:
            models[key] = count(config)
        except ConfigFileError as error:
            models[key] = str(error)
    return models[key]


def _records(cells: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in cells.to_dict("records")]


def _config(row: Mapping[str, Any], own: Mapping[str, Any] | None, preset: Preset) -> dict[str, Any] | None:
    """The configuration of one run: a file's, the columns that bear its fields' names, or those that a preset names."""
    if own is not None:
        return dict(own)
    if row.get(_KIND) is not None:
        return {name: _value(cell) for name, cell in row.items() if cell is not None and cell == cell}
    fields = {
        field: _value(value)
        for field, names in preset.config.items()
        if (value := next((row[n] for n in names if row.get(n) is not None), None)) is not None
    }
    if "hidden_size" not in fields or not preset.family:
        return None
    sparse = isinstance(fields.get("num_local_experts"), int) and fields["num_local_experts"] > 1
    fields.setdefault("vocab_size", 1)
    return {_KIND: preset.family["experts" if sparse else "dense"], "tie_word_embeddings": False, **fields}


def _value(cell: Any) -> Any:
    """A cell as JSON has it: a whole number, a number, yes or no, a list, or text."""
    if not isinstance(cell, str):
        return cell
    word = {"True": True, "False": False, "None": None}
    if cell in word:
        return word[cell]
    number = float(as_numbers(np.array([cell], dtype=object))[0])
    if np.isfinite(number):
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if cell[:1] == "[" and len(cell) < 10_000:
        try:
            return json.loads(cell.replace("'", '"'))
        except (ValueError, RecursionError):
            return cell
    return cell
