"""Writing a reader's table down as it was read: the book's names, the rows that were asked for, what was derived."""

import io
import os
from pathlib import Path

from moelaws.files import check_writable, is_stream, write_whole
from moelaws.quote import plain
from moelaws.runs.error import RunTableError
from moelaws.runs.reading.read import WRITTEN, Loaded, read_table, told

_NOTHING = "nothing was derived"
_FORMATS = (".csv", ".parquet")


def check_place(out: Path, source: Path) -> None:
    """Find out, before the work is done, whether a table may be written there.

    A file is overwritten only if it is empty, or a table that was written so.

    Args:
        out: where to write.
        source: the file that is read.

    Raises:
        RunTableError: a name that says no format, the file that is read, or a file that is not ours.
        OSError: the place cannot be written to.
    """
    if out.suffix.lower() not in _FORMATS:
        raise RunTableError(f"--write {plain(out)}: expected a name that ends in {' or '.join(_FORMATS)}")
    check_writable(out)
    if is_stream(out) or not out.exists():
        return
    if source.exists() and os.path.samefile(out, source):
        raise RunTableError(f"--write {plain(out)}: this is the table that is read; write to another file")
    if out.stat().st_size == 0:
        return
    try:
        ours = WRITTEN in read_table(out).columns
    except RunTableError:
        ours = False
    if not ours:
        raise RunTableError(
            f"--write {plain(out)}: the file holds no table that --write made, so it is not replaced; name a new file,"
            " or remove this one"
        )


def save_runs(loaded: Loaded, out: Path) -> int:
    """Write a table with its derived columns, whole or not at all; its last column says what was derived.

    Args:
        loaded: the table as it was read.
        out: a ``.csv`` or ``.parquet`` file, which ``check_place`` has seen.

    Returns:
        How many rows were written.

    Raises:
        RunTableError: no rows, or Parquet without pyarrow.
        OSError: the file cannot be written; an older one is as it was.
    """
    runs, derived = loaded.derived()
    if runs.empty:
        raise RunTableError(f"{plain(out)}: there are no rows to write")
    earlier = [loaded.earlier] if loaded.earlier not in ("", _NOTHING) else []
    table = runs.assign(**{WRITTEN: "; ".join([*earlier, *told(derived)]) or _NOTHING})
    if out.suffix.lower() == ".csv":
        write_whole(out, table.to_csv(index=False, lineterminator="\n"))
        return len(table)
    buffer = io.BytesIO()
    try:
        table.to_parquet(buffer, index=False)
    except ImportError:
        raise RunTableError(f"{plain(out)}: writing Parquet needs pyarrow: pip install 'moelaws[parquet]'") from None
    write_whole(out, buffer.getvalue())
    return len(table)
