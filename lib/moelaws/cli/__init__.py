"""The ``moelaws`` command: one module here per subcommand, each with ``add_arguments``."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module

from moelaws.interrupt import begun, interrupted, interruptible

TYPE_CHECKING = False  # typing takes longer to import than all else above, and Ctrl-C is not yet taken care of
if TYPE_CHECKING:
    from moelaws.cli.boundary import Parser

COMMANDS = {
    "runs": "check a run table and summarise it",
    "sweep": "train the runs of a sweep; a stopped sweep goes on where it was",
    "rerun": "train recorded runs again from their rows, and compare the losses",
    "probe": "train recorded runs again and record what each can do",
    "isoflop": "fit the loss surface of each budget and find its optima",
    "fit": "fit a law to a run table",
    "compare": "compare laws on a run table: which fits, which foresees",
    "predict": "predict losses of new runs, with intervals",
    "speedup": "how many times the FLOPs one configuration is worth over another",
    "next": "choose the runs that tell most, for their FLOPs, about what is asked",
    "report": "make one page for a run table: what is in it, what it says, what it leaves open",
    "measure": "time prefill and decode of a model, or calibrate this machine",
    "export": "write a checkpoint in a format that other programs read: GGUF",
    "count": "count parameters, FLOPs and bytes of published models from their config.json",
    "plan": "choose size, experts and hardware for training and serving",
    "upcycle": "make a mixture of a dense checkpoint: its layers become experts",
    "compress": "write a checkpoint in few bits, more for the experts that matter",
    "blend": "put two checkpoints together as one mixture, with learned gates",
}
"""Each command's module here, and what its line in ``--help`` says: the modules are loaded when they are asked for."""

_DEEPER = {name: f"reshaping.{name}_command" for name in ("upcycle", "compress", "blend", "export")} | {
    name: f"instrument.{name}" for name in ("compare", "predict", "speedup", "next", "report")
}
"""Commands whose modules lie in a room of their own."""


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
    """The parser of the whole command line; a command's own parser learns its arguments when it is used."""
    from moelaws import __version__
    from moelaws.cli.boundary import Parser

    parser = Parser(prog="moelaws", description="An open laboratory of mixture-of-experts scaling laws.")
    parser.add_argument("--version", action="version", version=f"moelaws {__version__}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, what in COMMANDS.items():
        subparsers.add_parser(name, help=what).learn = partial(_add_arguments, name)
    return parser


def _add_arguments(name: str, parser: "Parser") -> None:
    import_module(f"moelaws.cli.{_DEEPER.get(name, name)}").add_arguments(parser)


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
