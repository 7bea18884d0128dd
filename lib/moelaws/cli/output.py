"""Results as JSON files."""

import json
import math
from pathlib import Path
from typing import Any

from moelaws.files import write_whole


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON under ``path``, at once: a reader finds the old file or the whole new one.

    Numbers that JSON does not know (NaN, infinity) are written as null.

    Raises:
        ValueError: the folder does not exist or cannot be written.
    """
    text = json.dumps(_plain(value), indent=2, allow_nan=False) + "\n"
    try:
        write_whole(path, text)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror})") from None


def _plain(value: Any) -> Any:
    """The value in JSON's own types; NumPy scalars become Python's."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
