"""The ``moelaws`` command: one module here per subcommand, each with ``add_parser``."""

import argparse
import os
import sys
from collections.abc import Sequence

from moelaws import __version__, book
from moelaws.cli import fit, isoflop, measure, plan, probe, rerun, runs, sweep
from moelaws.cli.progress_bar import shown_progress
from moelaws.quote import sentence
from moelaws.runs import TableInUseError

_SUBCOMMANDS = (runs, sweep, rerun, probe, isoflop, fit, measure, plan, book)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 the work failed, 2 the input is wrong."""
    parser = argparse.ArgumentParser(
        prog="moelaws", description="An open laboratory of mixture-of-experts scaling laws."
    )
    parser.add_argument("--version", action="version", version=f"moelaws {__version__}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for subcommand in _SUBCOMMANDS:
        subcommand.add_parser(subparsers)
    options = parser.parse_args(arguments)
    try:
        with shown_progress():
            return int(options.run(options) or 0)
    except (ValueError, TableInUseError) as error:
        # Every complaint about a reader's input is a ValueError whose message is one clear sentence.
        print(sentence(f"moelaws: error: {error}"), file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader closed the pipe (`moelaws runs ... | head`): not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
