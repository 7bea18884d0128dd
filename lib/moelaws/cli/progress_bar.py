"""What a command is at, on the terminal: shown after two seconds of silence, gone at the next line it prints."""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from moelaws.quote import plain
from moelaws.stages import watched

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE = 2.0
"""Seconds of silence after which a command says what it is at."""
_GLANCE = 0.1


@contextmanager
def shown_progress(patience: float = PATIENCE) -> Iterator[None]:
    """Show on the terminal what the block is at, whenever it has been silent for so long.

    Nothing happens where standard error is not a terminal. Standard output is never written to.

    Args:
        patience: seconds.
    """
    if not _is_terminal(sys.stderr):
        yield
        return
    bar = _Bar(patience)
    before = sys.stdout, sys.stderr
    # What the command prints to the same terminal must not land in the middle of the bar's line.
    sys.stdout, sys.stderr = (_Clearing(each, bar) if _is_terminal(each) else each for each in before)
    try:
        with watched(bar.told):
            yield
    finally:
        sys.stdout, sys.stderr = before
        bar.end()


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # None under pythonw, or closed
        return False


class _Bar:
    """One line on standard error, drawn by a thread of its own: the command's may be deep in a computation."""

    def __init__(self, patience: float) -> None:
        self._patience, self._stream = patience, sys.stderr
        self._heard = self._began = time.monotonic()
        self._at: tuple[str, float, float | None] = "", 0.0, None
        self._drawn: Progress | None = None
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress bar", daemon=True)
        self._thread.start()

    def told(self, words: str, done: float, total: float | None) -> None:
        """Take note of where the computation is."""
        if words != self._at[0]:
            self._began = time.monotonic()
        self._at = words, done, total

    def clear(self) -> None:
        """Take the bar away: the command has something to say itself."""
        with self._lock:
            self._heard = time.monotonic()
            if self._drawn is not None:
                self._drawn.stop()
                self._drawn = None

    def end(self) -> None:
        """Take the bar away for good."""
        self._over.set()
        self._thread.join(timeout=2.0)
        self.clear()

    def _watch(self) -> None:
        while not self._over.wait(_GLANCE):
            with self._lock:
                if self._drawn is None and time.monotonic() - self._heard >= self._patience:
                    self._drawn = _new_bar(self._stream)
                    self._drawn.start()
                if self._drawn is not None:
                    self._draw(self._drawn)

    def _draw(self, bar: "Progress") -> None:
        words, done, total = self._at
        # What a stage is called may hold the name of a file, and a file any character.
        words = plain(words) or "working"
        spent = time.monotonic() - self._began
        if not bar.tasks or bar.tasks[0].description != words:
            for task in bar.tasks:
                bar.remove_task(task.id)
            bar.add_task(words, total=total, spent=spent)
        bar.update(bar.tasks[0].id, completed=done, total=total, spent=spent)
        bar.refresh()


class _Clearing:
    """A stream of the terminal that takes the bar away before it writes."""

    def __init__(self, stream: TextIO, bar: _Bar) -> None:
        self._stream, self._bar = stream, bar

    def write(self, text: str) -> int:
        self._bar.clear()
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self._bar.clear()
        self._stream.writelines(lines)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _new_bar(stream: TextIO) -> "Progress":
    # Not at import time: most commands are done before anything is to be shown.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    class Terminal(Console):
        def show_cursor(self, show: bool = True) -> bool:
            return False  # a command that is killed could not show it again

    return Progress(
        SpinnerColumn("line"),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        BarColumn(20),
        TaskProgressColumn(),
        TextColumn("{task.fields[spent]:.0f} s", markup=False),
        TimeRemainingColumn(compact=True),
        console=Terminal(file=stream, force_jupyter=False),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
