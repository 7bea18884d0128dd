"""A JSON file of a reader's: one object, of bearable size, read whole or refused in a sentence."""

import json
import math
import stat
from pathlib import Path
from typing import Any, NoReturn

from moelaws.quote import shown

MOST_BYTES = 16_000_000
"""Many times the largest file that is meant to be read; what is larger is another kind of file."""


class JsonFileError(ValueError):
    """A file does not hold what is expected of it; the message names file, field, what was found and expected."""


def read_object(path: Path, name: str | None = None) -> dict[str, Any]:
    """The object that a JSON file holds. Nothing is read of what is not a regular file, or is too large.

    Args:
        path: the file.
        name: what messages call it; the path by default.

    Raises:
        JsonFileError: no such file, a folder, a pipe or device, too large, not UTF-8, not JSON, not an object.
    """
    name = str(path) if name is None else name
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
            raise JsonFileError(f"{name}: is {what}; expected a JSON file")
        if status.st_size > MOST_BYTES:
            raise JsonFileError(f"{name}: {status.st_size / 1e6:.0f} MB; expected a JSON file of at most 16 MB")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise JsonFileError(f"{name}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise JsonFileError(f"{name}: not JSON (not UTF-8 text at byte {error.start})") from None
    try:
        content = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise JsonFileError(f"{name}: not JSON that can be read (nested too deeply)") from None
    except ValueError as error:
        raise JsonFileError(f"{name}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise JsonFileError(f"{name}: expected a JSON object, found {_kind(content)}")
    return content


def text_in(content: dict[str, Any], field: str, name: str) -> str:
    """A field that must hold text."""
    value = _field(content, field, name)
    return value if isinstance(value, str) else _refuse(name, field, value, "text")


def object_in(content: dict[str, Any], field: str, name: str) -> dict[str, Any]:
    """A field that may be absent or null, or hold an object."""
    value = content.get(field)
    if value is None:
        return {}
    return value if isinstance(value, dict) else _refuse(name, field, value, "an object")


def number_of(value: Any, field: str, name: str) -> float:
    """A value as a finite number; true, text and whole numbers beyond every float are none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    return _refuse(name, field, value, "a finite number")


def whole_in(content: dict[str, Any], field: str, name: str, least: int, most: int) -> int:
    """A field that must hold a whole number within bounds."""
    value = _field(content, field, name)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    return _refuse(name, field, value, f"a whole number from {least} to {most}")


def _field(content: dict[str, Any], field: str, name: str) -> Any:
    if field not in content:
        raise JsonFileError(f"{name}: no field {field!r}")
    return content[field]


def _refuse(name: str, field: str, value: Any, expected: str) -> NoReturn:
    found = shown(value) if isinstance(value, str) else _kind(value)
    raise JsonFileError(f"{name}: {shown(field)}: expected {expected}, found {found}")


def _kind(value: Any) -> str:
    """What a value is, in the words of JSON, and the value itself where it is short."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return shown(value)
        case int() if abs(value) > 10**60:
            return "a whole number of more than 60 digits"
    return shown(value)


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
