"""A table that is not as its writer left it: made whole again where rows were lost, left alone where it was changed."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

from moelaws.files import Signature, create_file, signature
from moelaws.runs.error import RunTableError


class TableChangedError(RunTableError):
    """Another program changed the table while it was written to; the message says where the rows are safe."""


def bytes_there(place: Path, left: Signature, data: bytes, lines: bytes, tell: Callable[[str], None]) -> int:
    """How much of a table is on the disk; one that was deleted is made again.

    Args:
        place: of the table.
        left: its signature when it was written to last.
        data: what it held then.
        lines: what is to be written next; saved with all the rest if it cannot be.
        tell: told in one sentence what was lost.

    Returns:
        How many of the bytes, from the first on, stand in the file, and nothing else does.

    Raises:
        TableChangedError: something else does: the file is left as it is, and the rows go to one beside it.
        OSError: the file cannot be read.
    """
    name = place.name
    try:
        if signature(os.stat(place)) == left:
            return len(data)
        found = place.read_bytes()
    except FileNotFoundError:
        try:
            create_file(place, data, left.mode)
        except OSError as error:
            raise TableChangedError(
                f"{name} was deleted or moved while it was written to, and cannot be made again with the rows that it "
                f"had ({error.strerror or error})"
            ) from None
        tell(f"{name} was deleted or moved while it was written to; it is made again with all its rows")
        return len(data)
    if data.startswith(found):
        if found != data:
            tell(f"{name} was cut short while it was written to; what is missing is written again")
        return len(found)
    saved = save_beside(place, data + lines, left.mode)
    raise TableChangedError(
        f"{name}: another program changed the table while it was written to; it is left as it is, and all rows that "
        f"were there or came since are in {saved.name} beside it"
    )


def save_beside(place: Path, data: bytes, mode: int) -> Path:
    """Write a table to a new file such as ``runs.saved-1.csv`` beside the one of its name.

    Args:
        place: of the table.
        data: header and rows.
        mode: permissions of the new file.

    Returns:
        The new file.

    Raises:
        TableChangedError: it cannot be written, and its rows are lost.
    """
    for number in itertools.count(1):
        saved = place.with_name(f"{place.stem[:200]}.saved-{number}{place.suffix}")
        try:
            create_file(saved, data, mode)
            return saved
        except FileExistsError:
            continue
        except OSError as error:
            raise TableChangedError(
                f"{place.name}: another program changed the table while it was written to, and the rows that it had "
                f"cannot be saved beside it ({error.strerror or error})"
            ) from None
    raise AssertionError("numbers do not end")
