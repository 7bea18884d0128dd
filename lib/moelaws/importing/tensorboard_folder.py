"""Runs as TensorBoard has them: the last value of every scalar, and hyper-parameters where they were written."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moelaws.importing.export import Export
from moelaws.importing.run_folders import files_in, json_object, model_config, name_of
from moelaws.quote import plain
from moelaws.runs.error import RunTableError

EVENTS = r".*tfevents.*"

_HPARAMS_FOLDER = re.compile(r"\d{9,11}\.\d+")
"""``add_hparams`` puts a run's hyper-parameters into a folder below it, named after the time."""


def read_tensorboard(folder: Path) -> Export:
    """Read a folder of event files; needs the package ``tensorboard``.

    Args:
        folder: with runs in it or below, a folder each.

    Returns:
        A row a run: the last value of each scalar, by its tag, and the hyper-parameters.

    Raises:
        RunTableError: the package is not there, no event files, or none that holds a scalar.
    """
    places = sorted({file.parent for file in files_in(folder, EVENTS)})
    if not places:
        raise RunTableError(f"{plain(folder)}: no event files of TensorBoard (events.out.tfevents...) here or below")
    if find_spec("tensorboard") is None:
        raise RunTableError(
            f"{plain(folder)}: event files of TensorBoard are read with its own package, which is not installed;"
            " pip install 'moelaws[tensorboard]'"
        )
    runs: dict[Path, dict[str, str]] = {}
    for place in places:
        run = place.parent if _HPARAMS_FOLDER.fullmatch(place.name) and place != folder else place
        runs.setdefault(run, {}).update(_last_values(place))
    runs = {run: row for run, row in runs.items() if row}
    if not runs:
        raise RunTableError(f"{plain(folder)}: its event files hold no scalars")
    configs = tuple(next((json_object(f, folder) for f in model_config(run)), None) for run in runs)
    cells = pd.DataFrame([{"name": name_of(run, folder), **row} for run, row in runs.items()])
    cells.index = pd.RangeIndex(1, len(cells) + 1)
    return Export(cells.astype(object).where(cells.notna(), None), configs)


def _last_values(place: Path) -> dict[str, str]:
    from tensorboard.backend.event_processing import event_accumulator as events  # not above: an optional package

    # A reservoir of one keeps the last.
    held = events.EventAccumulator(str(place), {events.SCALARS: 1, events.TENSORS: 1})
    held.Reload()
    tags = held.Tags()
    row: dict[str, str] = dict(_hyper_parameters(held))
    last_step = -1
    for tag in tags.get("scalars", []):
        event = held.Scalars(tag)[-1]
        last_step = max(last_step, event.step)
        row[tag] = repr(float(event.value))
    for tag in tags.get("tensors", []):
        value = _scalar_of(held.Tensors(tag)[-1].tensor_proto)
        if value is not None:
            last_step = max(last_step, held.Tensors(tag)[-1].step)
            row[tag] = repr(value)
    if last_step >= 0:
        row.setdefault("step", str(last_step))
    return row


def _scalar_of(tensor: Any) -> float | None:
    from tensorboard.util.tensor_util import make_ndarray  # not above: an optional package

    try:
        values = np.asarray(make_ndarray(tensor))
    except (TypeError, ValueError):
        return None
    return float(values.reshape(())) if values.size == 1 and values.dtype.kind in "fiu" else None


def _hyper_parameters(held: Any) -> Iterator[tuple[str, str]]:
    from tensorboard.plugins.hparams import plugin_data_pb2  # not above: an optional package

    try:
        content = held.PluginTagToContent("hparams")
    except KeyError:
        return
    for data in content.values():
        start = plugin_data_pb2.HParamsPluginData.FromString(data).session_start_info
        for name, value in start.hparams.items():
            kind = value.WhichOneof("kind")
            if kind is not None and kind != "null_value":
                yield name, str(getattr(value, kind))
