"""From somebody's file or folder to runs: found, named, counted, checked, and all of it said."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from moelaws.importing.counted import counted
from moelaws.importing.export import Export
from moelaws.importing.matching import Matched, from_patterns, matched
from moelaws.importing.preset import Preset, presets
from moelaws.importing.run_folders import files_in
from moelaws.importing.tensorboard_folder import EVENTS, read_tensorboard
from moelaws.importing.trainer_folder import STATE, read_trainer
from moelaws.importing.unit import plain_numbers
from moelaws.importing.wandb_export import FILES, TRACKED, read_wandb
from moelaws.quote import listed, plain
from moelaws.runs import Loaded, RunTableError, load_cells
from moelaws.runs.numbers import as_numbers
from moelaws.runs.reading.read import read_table
from moelaws.runs.reading.rename import rename_columns

_FOLDERS = ((rf"{STATE}", "trainer"), (rf"{TRACKED}", "levanter"), (EVENTS, "tensorboard"), (FILES, "wandb"))

_NOTE = 2000
"""Characters of a note, which may hold names that a terminal would obey."""


@dataclass(frozen=True)
class Asked:
    """What a reader says of a table.

    Attributes:
        preset: whose layout it has; empty finds out for a folder, and takes a file as it is.
        rename: the book's column -> the file's, before anything that a preset says.
        where: a condition on the rows to keep.
        required: columns that must be there, or follow from others.
        any_sign: columns in which a number below zero is none to refuse.
        guess: whether the names that people give are gone by where the reader says nothing of columns.
        left: columns of the table that the reader names elsewhere, which no guess renames.
    """

    preset: str = ""
    rename: Mapping[str, str] | None = None
    where: str | None = None
    required: Iterable[str] = ("loss",)
    any_sign: Collection[str] = ()
    guess: bool = False
    left: Collection[str] = ()


def import_runs(path: str | Path, preset: str = "auto", rename: Mapping[str, str] | None = None) -> Loaded:
    """Read runs as another program left them, with what is to be said of them; ``read_runs`` gives the table alone.

    Args:
        path: a file, or a folder of runs.
        preset: whose layout it is: ``wandb``, ``tensorboard``, ``trainer`` (Hugging Face), ``levanter``, ``marin``;
            or ``auto``, which finds out what a folder is, and in a table goes by the names people give to columns.
        rename: the book's column -> the file's, as in ``read_runs``; it comes before the preset.

    Returns:
        The runs, with ``notes`` that say which column was taken for which and what was counted from a model's
        configuration. ``.runs`` is the table, ``.derived()`` adds what follows from it.

    Raises:
        RunTableError: as ``read_runs``; no such preset; nothing of the kind in a folder; TensorBoard's event files
            without its package.

    Example:
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp()) / "results.csv"
        >>> _ = table.write_text("Model,Params (M),Experts,D (B),Val loss\\na,33,1,2.1,3.46\\nb,220,8,9,2.9\\n")
        >>> found = import_runs(table)
        >>> found.runs[["loss", "total_params", "n_experts", "tokens"]].iloc[1].tolist()
        [2.9, 220000000.0, 8.0, 9000000000.0]
        >>> print(found.notes[0])
        preset auto: loss = Val loss, total_params = Params (M) * 1e+06, tokens = D (B) * 1e+09, n_experts = Experts
    """
    return load(path, Asked(preset, rename))


def load(path: str | Path, asked: Asked) -> Loaded:
    """The one way from a command's table to runs: plain tables, other people's, folders.

    Args:
        path: a file or a folder.
        asked: what the reader says of it.

    Raises:
        RunTableError, ConditionError: as ``load_runs`` and ``import_runs``.
    """
    place = Path(path)
    name = plain(place.name or str(path))
    rename = dict(asked.rename or {})
    preset = _preset(asked.preset, place)
    if preset is None and asked.guess:
        preset = _guessed(place, rename, asked.left)
    if preset is None:
        try:
            cells = plain_numbers(read_table(place), rename)
            return load_cells(cells, name, rename, asked.where, asked.required, asked.any_sign)
        except RunTableError as error:
            raise _with_hint(error, place, rename) from None
    export = _export(place, preset)
    columns, notes = _named(export, preset, rename, name, asked.left)
    try:
        loaded = load_cells(columns.cells, name, columns.rename | rename, asked.where, asked.required, asked.any_sign)
    except RunTableError as error:
        raise _with_question(error, columns.asked) from None
    return replace(loaded, notes=(*(plain(note, _NOTE) for note in notes), *loaded.notes))


def _preset(name: str, place: Path) -> Preset | None:
    if name and name not in presets():
        raise RunTableError(f"--map {plain(name)}: no such preset; there are {listed(presets(), name)}")
    folder = place.is_dir()
    if name in ("", "auto") and folder:
        for pattern, of in _FOLDERS:
            if next(files_in(place, pattern), None) is not None:
                return presets()[of]
        raise RunTableError(
            f"{plain(place)}: a folder without runs; expected {STATE}, {TRACKED}, TensorBoard's event files, or exports"
            " of W&B as CSV or JSON, in it or below"
        )
    return presets()[name] if name else None


def _guessed(place: Path, rename: Mapping[str, str], left: Collection[str]) -> Preset | None:
    """The preset that finds columns which a file, taken as it is, does not have; none for what is no table."""
    try:
        cells = read_table(place)
    except RunTableError:
        return None  # said when it is read
    if "loss" not in cells.columns and "loss" not in rename:
        name = _finder(cells, place, rename)
        return presets()[name] if name else None
    return presets()["auto"] if matched(cells, presets()["auto"], rename, left).rename else None


def _export(place: Path, preset: Preset) -> Export:
    if preset.reads == "wandb":
        return read_wandb(place)
    if preset.reads == "table":
        return Export(read_table(place))
    if not place.is_dir():
        if not place.exists():
            read_table(place)  # says what is wrong with it
        raise RunTableError(f"{plain(place.name)}: a file; --map {preset.name} reads a folder of runs")
    return read_trainer(place) if preset.reads == "trainer" else read_tensorboard(place)


def _named(
    export: Export, preset: Preset, rename: Mapping[str, str], name: str, left: Collection[str]
) -> tuple[Matched, tuple[str, ...]]:
    """The export with the book's columns found and counted, and what is to be said of it."""
    found = matched(export.cells, preset, rename, left)
    cells, said = from_patterns(found.cells, preset, {**found.rename, **rename})
    pairs = ", ".join((*found.said, *said))
    notes = [f"preset {preset.name}: {pairs or 'no column was renamed'}", *found.asked, *export.notes]
    cells = plain_numbers(cells, found.rename | dict(rename))
    renamed = rename_columns(cells, found.rename | dict(rename), name).cells
    known = {
        str(column): values
        for column in renamed.columns
        if np.isfinite(values := as_numbers(renamed[column].to_numpy(dtype=object))).any()
    }
    new, counted_said = counted(cells, export.configs, preset, known)
    for column, values in new.items():
        source = (found.rename | dict(rename)).get(column, column)
        filled = np.array([None if np.isnan(v) else repr(v) for v in values.tolist()], object)
        if source in cells.columns:  # what the file says stays
            filled = cells[source].where(cells[source].notna(), filled).to_numpy(dtype=object)
        elif column in known:
            continue
        cells = cells.assign(**{source: filled})
    if "train_flops" in new:
        cells = cells.assign(flops_convention="exact")
    cells, unfinished = _unfinished(cells, preset, renamed)
    return Matched(cells, found.rename, (), found.asked), (*notes, *counted_said, *unfinished)


def _unfinished(cells: pd.DataFrame, preset: Preset, renamed: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    if preset.finished is None or "status" in renamed.columns or preset.finished[0] not in cells.columns:
        return cells, []
    column, least = preset.finished
    done = ~(as_numbers(cells[column].to_numpy(dtype=object)) < least)
    said = [] if done.all() else [f"{int((~done).sum())} of {len(cells)} runs did not finish: {column} below {least:g}"]
    return cells.assign(status=np.where(done, "finished", "unfinished")), said


def _with_hint(error: RunTableError, place: Path, rename: Mapping[str, str]) -> RunTableError:
    """The same complaint, with the presets that would read such a table where one would."""
    if "no column 'loss'" not in str(error) or "loss" in rename:
        return error
    cells = read_table(place)
    name = _finder(cells, place, rename)
    if name is None:
        return _with_question(error, matched(cells, presets()["auto"], rename).asked)
    export = read_wandb(place) if name == "wandb" else Export(cells)
    said = matched(export.cells, presets()[name], rename).said
    return RunTableError(f"{str(error).partition(' (--map')[0]}; --map {name} would take {said[0]}")


def _with_question(error: RunTableError, asked: Iterable[str]) -> RunTableError:
    """The same complaint of a missing column, with those that it could be."""
    for question in asked:
        if f"no column '{question.split()[0]}'" in str(error):
            return RunTableError(f"{str(error).partition(' (--map')[0]}; {question}")
    return error


def _finder(cells: pd.DataFrame, place: Path, rename: Mapping[str, str]) -> str | None:
    """The preset that finds the losses of a table that calls them otherwise."""
    for name in ("wandb", "auto"):
        try:
            export = read_wandb(place) if name == "wandb" else Export(cells)
        except RunTableError:
            continue
        shaped = (
            name == "auto" or len(export.cells) != len(cells) or not set(export.cells) <= {*map(str, cells), "name"}
        )
        if shaped and "loss" in matched(export.cells, presets()[name], rename).rename:
            return name
    return None
