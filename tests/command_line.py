"""A command as a user runs it, in this process."""

from collections.abc import Sequence

from moelaws.cli import main


def exit_code(arguments: Sequence[str]) -> int:
    """The exit code of a command, whichever way it ends: argparse raises where others return."""
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
