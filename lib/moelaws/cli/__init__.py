"""The ``moelaws`` command: one module here per subcommand, each with ``add_parser``."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from moelaws.interrupt import begun, interrupted, interruptible

TYPE_CHECKING = False  # typing takes longer to import than all else above, and Ctrl-C is not yet taken care of
if TYPE_CHECKING:
    from moelaws.cli.boundary import Parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, see ``boundary`` and ``interrupt``."""
    return command_line("moelaws", make_parser, arguments)


def command_line(name: str, parser: "Callable[[], Parser]", arguments: Sequence[str] | None = None) -> int:
    """Run a program whose parser puts what to do into ``run``: its errors, Ctrl-C and closed pipes end in a sentence.

    Args:
        name: of the program, for that sentence.
        parser: makes the parser; called once Ctrl-C is taken care of.
        arguments: of the command line; by default the process's own.

    Returns:
        The exit code, see ``boundary`` and ``interrupt``.
    """
    return interruptible(name, partial(_carry_out, parser, arguments), whole_process=arguments is None)


def _carry_out(parser: "Callable[[], Parser]", arguments: Sequence[str] | None) -> int:
    # Here and not above: what is imported takes a second, in which Ctrl-C may come.
    from moelaws.cli.boundary import outcome
    from moelaws.cli.progress_bar import shown_progress

    # A file's name need not be text; it is printed with escapes, not lost in an error of the encoding.
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    options = parser().parse_args(arguments)
    begun()
    try:
        with shown_progress():
            code = int(options.run(options) or 0)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader closed the pipe (`moelaws runs ... | head`): not an error.
        _discard_output()
        return 0
    except Exception as error:
        if interrupted():
            raise
        code = outcome(error)
        try:
            sys.stdout.flush()
        except (OSError, AttributeError):
            _discard_output()  # or Python would complain a second time when it ends
        return code


def make_parser() -> "Parser":
    """The parser of the whole command line."""
    from moelaws import __version__
    from moelaws.cli import fit, isoflop, measure, plan, probe, rerun, runs, sweep
    from moelaws.cli.boundary import Parser

    parser = Parser(prog="moelaws", description="An open laboratory of mixture-of-experts scaling laws.")
    parser.add_argument("--version", action="version", version=f"moelaws {__version__}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for subcommand in (runs, sweep, rerun, probe, isoflop, fit, measure, plan):
        subcommand.add_parser(subparsers)
    return parser


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
