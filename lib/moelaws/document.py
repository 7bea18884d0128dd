"""Results as files: JSON documents that say what they are, and never anything in the place of a file of somebody's."""

import json
import math
from pathlib import Path
from typing import Any, Literal

from moelaws.files import check_writable, is_stream, write_whole
from moelaws.json_file import JsonFileError, read_object

Kind = Literal[
    "fit", "isoflop", "plan", "machine", "count", "compression", "model plan", "prediction", "compare", "predict",
    "speedup", "blend", "next",
]  # fmt: skip
"""What a document holds; it says so in its field ``kind``, as in ``moelaws fit``."""

_COMMANDS: dict[Kind, str] = {
    "fit": "fit", "isoflop": "isoflop", "plan": "plan", "machine": "measure --calibrate", "count": "count",
    "compression": "compress", "model plan": "plan --model", "prediction": "measure --predict", "compare": "compare",
    "predict": "predict", "speedup": "speedup", "blend": "blend", "next": "next",
}  # fmt: skip

# By these fields the documents are known that were written before they said what they are.
_UNMARKED: dict[Kind, set[str]] = {
    "fit": {"law", "formula", "objective", "params", "objective_value", "versions"},
    "isoflop": {"variable", "bootstrap", "budgets", "versions"},
    "plan": {"request", "hardware", "laws", "disagreement", "versions"},
    "machine": {"machine", "held_out"},
}


def check_json(path: Path | None, kind: Kind) -> None:
    """Find out, before the work is done, whether its result could be written.

    A file is overwritten only if it is empty or a document of the same kind that moelaws wrote: anything else may be
    somebody's only copy. Devices and pipes take everything.

    Args:
        path: ``None`` for none: as where ``--json`` was not given.
        kind: of the document to be written.

    Raises:
        ValueError: another file is there.
        OSError: the place cannot be written to.
    """
    if path is None:
        return
    try:
        check_writable(path)
        if is_stream(path) or not path.exists() or path.stat().st_size == 0:
            return
        found = _kind_of(path)
    except OSError as error:
        raise _not_written(path, error) from None
    if found != kind:
        what = "no result that moelaws wrote" if found is None else f"what 'moelaws {_COMMANDS[found]}' wrote"
        raise ValueError(
            f"{path}: the file holds {what}, so it is not replaced by a result of "
            f"'moelaws {_COMMANDS[kind]}'; name a new file, or remove this one"
        )


def write_json(path: Path, kind: Kind, value: dict[str, Any]) -> None:
    """Write a result as JSON under ``path``, at once: a reader finds the old file or the whole new one.

    Numbers that JSON does not know (NaN, infinity) are written as null.

    Args:
        path: where; see ``check_json`` for what may be there.
        kind: of the document.
        value: its fields.

    Raises:
        ValueError: another file is there.
        OSError: the place cannot be written to.
    """
    check_json(path, kind)
    text = json.dumps({"kind": _mark(kind)} | plain(value), indent=2, allow_nan=False) + "\n"
    try:
        write_whole(path, text)
    except OSError as error:
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> OSError:
    return OSError(error.errno, f"cannot be written ({error.strerror or error})", str(path))


def _mark(kind: Kind) -> str:
    return f"moelaws {kind}"


def _kind_of(path: Path) -> Kind | None:
    """What a file holds of ours."""
    try:
        document = read_object(path)
    except JsonFileError:
        return None
    if "kind" in document:
        return next((kind for kind in _COMMANDS if document["kind"] == _mark(kind)), None)
    if set(document) == _UNMARKED["machine"]:
        return "machine"
    versions = document.get("versions")
    if not isinstance(versions, dict) or "moelaws" not in versions:
        return None
    return next((kind for kind, fields in _UNMARKED.items() if fields <= set(document)), None)


def plain(value: Any) -> Any:
    """The value in JSON's own types; NumPy scalars become Python's."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
