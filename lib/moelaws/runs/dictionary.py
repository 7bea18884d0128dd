"""The field dictionary of a run table, as a Markdown table made of the schema.

python -m moelaws.runs.dictionary                   print it
python -m moelaws.runs.dictionary data/README.md    bring the table in this file up to date
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from moelaws.files import write_whole
from moelaws.runs.schema import COLUMNS, Column

BEGIN = "<!-- begin of the fields: python -m moelaws.runs.dictionary data/README.md -->"
END = "<!-- end of the fields -->"


def field_table() -> str:
    """Describe every column of a run table, in file order.

    Returns:
        A Markdown table: column, what a cell holds and its unit, meaning. Ends with a line end.
    """
    rows = ["| Column | Holds | Meaning |", "|---|---|---|"]
    for column in COLUMNS.values():
        # A bar would end the cell, even inside code.
        cells = (f"`{column.name}`", _holds(column), column.meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def with_field_table(text: str) -> str:
    """Put the field dictionary between its markers.

    Args:
        text: a Markdown text with the lines ``BEGIN`` and ``END``, once each and in this order.

    Returns:
        The same text with the present dictionary between them.

    Raises:
        ValueError: a marker is missing, there twice, or the end comes first.
    """
    for marker in (BEGIN, END):
        if text.count(marker) != 1:
            raise ValueError(f"expected the line {marker!r} once, found it {text.count(marker)} times")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"expected {END!r} after {BEGIN!r}, found it before")
    return f"{before}{BEGIN}\n\n{field_table()}\n{END}{after}"


def _holds(column: Column) -> str:
    words = [column.expected.removeprefix("a ").replace(">=", "≥")]
    if column.unit not in ("", "1"):
        words.append(column.unit)
    if column.optional:
        words.append("may be empty")
    return ", ".join(words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the dictionary, or update it in the files named; returns the exit status."""
    paths = sys.argv[1:] if arguments is None else arguments
    if not paths:
        print(field_table(), end="")
    for name in paths:
        path = Path(name)
        try:
            text = path.read_text(encoding="utf-8")
            write_whole(path, with_field_table(text))
        except (OSError, ValueError) as error:
            print(f"error: {path}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
