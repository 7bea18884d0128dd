"""The values that a build glued into the book's text: written to a file, and held against those of another build."""

import json
from pathlib import Path
from typing import Any

from bookbuild.error import BookError
from moelaws.files import check_beginning, write_whole

Numbers = dict[str, dict[str, str]]
"""Page -> key -> the text that stands in its place."""


def glued_numbers(executed: Path) -> Numbers:
    """Read what the latest executed notebook of each chapter glued.

    Arguments:
        executed: the folder of one profile, such as `_build/executed/full`.

    Returns:
        The values, by page and key. Charts and tables are left out: they hold no sentence's number.

    Raises:
        BookError: no executed notebook lies there.
    """
    import nbformat

    latest: dict[str, Path] = {}
    for path in sorted(executed.glob("**/*.ipynb"), key=lambda entry: entry.stat().st_mtime):
        latest[path.relative_to(executed).as_posix().rsplit(".", 2)[0]] = path
    if not latest:
        raise BookError(f"{executed}: expected executed notebooks, found none; build the book first")
    return {page: values_of(nbformat.read(path, as_version=4)) for page, path in sorted(latest.items())}


def differences(before: Numbers, after: Numbers) -> list[str]:
    """Say where two builds differ, one sentence a value.

    Arguments:
        before, after: what `glued_numbers` read from each.

    Returns:
        Nothing where all values are equal to the last digit.
    """
    found = []
    for page in sorted(before.keys() | after.keys()):
        old, new = before.get(page, {}), after.get(page, {})
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                found.append(f"{page}: {key} was {old.get(key, 'absent')}, is {new.get(key, 'absent')}")
    return found


def read_numbers(path: Path) -> Numbers:
    """Read a file that an earlier build's numbers were written to.

    Raises:
        BookError: it cannot be read, or holds something else.
    """
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
        numbers.pop("kind", None)
        return {str(page): {str(key): str(text) for key, text in values.items()} for page, values in numbers.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise BookError(f"{path}: expected numbers as `numbers --write` writes them ({error})") from None


def numbers_text(numbers: Numbers) -> str:
    """The numbers as a JSON file, which says what it is."""
    return json.dumps({"kind": "moelaws numbers", **numbers}, indent=1, ensure_ascii=False) + "\n"


def write_numbers(path: Path, numbers: Numbers) -> None:
    """Write the numbers to a file: a new one, or in the place of older ones.

    Raises:
        BookError: another file is there, or the place cannot be written to.
    """
    try:
        check_beginning(path, numbers_text({}).partition("\n}")[0])
        write_whole(path, numbers_text(numbers))
    except OSError as error:
        raise BookError(f"{path}: {error.strerror}") from None


def values_of(notebook: Any) -> dict[str, str]:
    """What an executed notebook glued, by key."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if name is None:
                continue
            data = {kind.removeprefix("application/papermill.record/"): text for kind, text in output.data.items()}
            if not any(kind.startswith(("image/", "application/", "text/html")) for kind in data):
                found[name] = str(data.get("text/plain", ""))
    return found
