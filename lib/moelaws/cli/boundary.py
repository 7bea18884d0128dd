"""Where errors end: each becomes one sentence on standard error and an exit code, at this one place.

0 done · 1 the work failed · 2 the input is wrong · 3 a fit failed · 70 a fault of ours.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from moelaws.files import EXHAUSTED
from moelaws.quote import sentence, shown

FAILED, WRONG_INPUT, FIT_FAILED, OUR_FAULT = 1, 2, 3, 70
_BEGINNINGS = {OUR_FAULT: "moelaws: internal error: ", FIT_FAILED: "moelaws: the fit failed: "}
DEBUG = "MOELAWS_DEBUG"
"""Environment variable that shows where an error came from."""
_OURS = ("moelaws.", "howmany.", "bookbuild.")


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence, like all others; the usage is there for the asking."""

    learn: Callable[["Parser"], None] | None = None
    """Adds the arguments, when they are first needed: a command that is not asked for is not loaded."""

    def learned(self) -> "Parser":
        """This parser, once it knows its arguments."""
        learn, self.learn = self.learn, None
        if learn is not None:
            learn(self)
        return self

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, as argparse does, but for ``--option=--``, which it takes for an option of no value at all."""
        self.learned()
        for word in sys.argv[1:] if args is None else args:
            if word.startswith("-") and word.endswith("=--"):
                self.error(f"argument {shown(word[:-3])}: expected a value, found '--'")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and end with exit code 2."""
        complain(f"{self.prog}: error: ", f"{message}; see {self.prog} --help")
        raise SystemExit(WRONG_INPUT)


def complain(beginning: str, message: str) -> None:
    """Print one sentence on standard error."""
    print(sentence(beginning + message), file=sys.stderr, flush=True)


def tell(message: str) -> None:
    """Tell on standard error what else happens: a wait, a killed worker, an end that is none of the input's fault."""
    complain("moelaws: ", message)


def outcome(error: Exception) -> int:
    """Say in one sentence what an error means to the reader.

    Args:
        error: whatever ended a command.

    Returns:
        The exit code.
    """
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    code, message = _meaning(error)
    complain(_BEGINNINGS.get(code, "moelaws: error: "), message)
    return code


def _meaning(error: Exception) -> tuple[int, str]:
    if (isinstance(error, ValueError) and _is_ours(error)) or _is_table_in_use(error):
        # Every complaint about a reader's input is a ValueError whose message is one clear sentence.
        return WRONG_INPUT, str(error)
    if isinstance(error, OSError):
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return FAILED if error.errno in EXHAUSTED else WRONG_INPUT, f"{place}{error.strerror or error}"
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        return FAILED, "the memory of this machine does not suffice for what was asked"
    if _is_failed_fit(error):
        return FIT_FAILED, str(error)
    if isinstance(error, RecursionError):
        return WRONG_INPUT, "the input is nested too deeply"
    return OUR_FAULT, (
        f"{type(error).__name__}: {sentence(str(error), 160)} ({_place(error)}); "
        f"please report it with what {DEBUG}=1 shows"
    )


def _is_ours(error: Exception) -> bool:
    """Whether this library raised the error: a ValueError of NumPy's own says nothing to a reader."""
    if type(error).__module__.startswith(_OURS):
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__", "")).startswith(_OURS)


def _is_table_in_use(error: Exception) -> bool:
    from moelaws.runs import TableInUseError  # not above: help and a misspelled option need no tables

    return isinstance(error, TableInUseError)


def _is_failed_fit(error: Exception) -> bool:
    from moelaws.fitting.engine.descent import FitFailed  # not above: most errors have nothing to do with fits

    return isinstance(error, FitFailed)


def _is_torch_out_of_memory(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, RuntimeError) and ("not enough memory" in text or "out of memory" in text)


def _place(error: Exception) -> str:
    """The last line of this library that the error passed."""
    ours = [
        f"{name.replace('.', '/')}.py, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if (name := str(frame.f_globals.get("__name__", ""))).startswith(_OURS)
    ]
    return ours[-1] if ours else "outside moelaws"
