"""Ctrl-C and SIGTERM end a command with one sentence and the exit code that shells expect, within seconds.

Python turns Ctrl-C into an exception wherever its main thread happens to be. That is right for what must be put in
order (a table, a site, worker processes) and goes wrong at the edges: while modules are imported, in callbacks
that swallow exceptions, in a library that catches everything, and not at all for SIGTERM. Here both signals become
one exception, the edges are taken care of, and a thread sees to it that the process ends in any case.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# Little is imported here, and not even typing: until the signals are taken over, Ctrl-C is a traceback.
SIGNALS = (signal.SIGINT, signal.SIGTERM)

SECONDS = 4.0
"""Time for putting things in order; a process that needs more is ended as it is."""

_TICK = 0.05


class Interrupted(KeyboardInterrupt):
    """Someone wants this process to end: Ctrl-C or SIGTERM.

    Args:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def promise(words: Callable[[], str]) -> Iterator[None]:
    """Say what a reader still has when this block is interrupted.

    Args:
        words: called after the block was left; returns the end of the sentence that begins with ``interrupted;``.
    """
    _promises.append(words)
    try:
        yield
    except KeyboardInterrupt:
        _ending.words = _ending.words or words
        raise
    finally:
        _promises.pop()


def interruptible(name: str, command: Callable[[], int], whole_process: bool) -> int:
    """Carry out a command so that Ctrl-C and SIGTERM end it in good order.

    Args:
        name: of the program, with which the sentence begins.
        command: returns the exit code; calls ``begun`` when its modules are imported.
        whole_process: the process has nothing else to do, and may be ended from here.

    Returns:
        What the command returned, or 128 and the signal's number if it was interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        return command()
    ending = _Ending(name, whole_process)
    with _watched(ending):
        try:
            ending.code = command()
        except BaseException as error:
            # An import or a callback that is interrupted may fail in another way.
            if not (ending.number or isinstance(error, KeyboardInterrupt)):
                ending.code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
                raise
            ending.code = ending.tell()
            if whole_process:
                _leave(ending.code)
        return ending.code


def begun() -> None:
    """From here on an interrupted command has something to put in order; before, its process just ends."""
    _ending.begun = True


def interrupted() -> bool:
    """Whether somebody wants the process to end: an error that comes after that is none of the input's."""
    return bool(_ending.number)


class _Ending:
    """How a command stands between its start, a signal and its end."""

    def __init__(self, name: str = "", whole_process: bool = False) -> None:
        self.name, self.whole_process = name, whole_process
        self.begun = not whole_process
        self.number = 0  # of the signal that came, if one did
        self.words: Callable[[], str] | None = None
        self.swallowed = self.telling = self.told = False
        self.code: int | None = None  # once it has ended

    def on_signal(self, number: int, _: FrameType | None) -> None:
        if self.code is not None:
            _leave(self.code)  # an interpreter that shuts down has nothing to say about it
        if not self.begun:
            _leave(self.tell(number))
        if self.number and not self.swallowed:
            return  # the first one is being dealt with
        self.number, self.swallowed = number, False
        self.words = self.words or (_promises[-1] if _promises else None)
        raise Interrupted(number)

    def tell(self, number: int = 0) -> int:
        """Say it, once; returns the exit code."""
        number = number or self.number or signal.SIGINT
        words = "nothing was written"
        if self.telling:
            words = "what was recorded is safe"  # looking at it takes too long
        elif self.words is not None:
            self.telling = True
            with suppress(Exception):
                words = self.words()
        if not self.told:
            self.told = True
            sentence = f"{self.name}: interrupted; {words}\n"
            if not self.whole_process:
                sys.stderr.write(sentence)
            else:
                # A terminal has shown ^C on the line; and what Python buffers may be in use just now.
                with suppress(OSError):
                    os.write(2, b"\n" * os.isatty(2) + sentence.encode())
        return 128 + number


_ending = _Ending()
_promises: list[Callable[[], str]] = []


def _leave(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a closed pipe, or a line that is just being written
            stream.flush()
    os._exit(code)


def _taken() -> list[int]:
    """The signals that are not ignored: whoever started the process may have said that some are to be."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def _watched(ending: _Ending) -> Iterator[None]:
    """Take the signals over for a block; for good where the whole process ends with it."""
    global _ending
    outer, _ending = _ending, ending
    if ending.whole_process:
        atexit.register(_go_deaf)  # first, so that it is called last
    hook = sys.unraisablehook
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    threading.Thread(target=_watch, args=(reading, ending), daemon=True).start()
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = {number: signal.signal(number, ending.on_signal) for number in _taken()}
    sys.unraisablehook = _on_swallowed(hook, ending)
    try:
        yield
    finally:
        if not ending.whole_process:
            sys.unraisablehook = hook
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(woken)
            os.close(writing)
            _ending = outer


def _go_deaf() -> None:
    """The work is done, and Python takes itself down: it gives signals back to the system, which would kill it."""
    for number in _taken():
        signal.signal(number, signal.SIG_IGN)


def _on_swallowed(
    hook: Callable[["sys.UnraisableHookArgs"], object], ending: _Ending
) -> Callable[["sys.UnraisableHookArgs"], None]:
    """A hook for errors that Python cannot raise, as in a destructor: one that was our signal is not lost by that."""

    def on_swallowed(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, Interrupted):
            ending.swallowed = True
        else:
            hook(unraisable)

    return on_swallowed


def _watch(reading: int, ending: _Ending) -> None:
    """Wait for the first signal; then see to it that the main thread takes notice, and ends."""
    while (heard := os.read(reading, 1)) and heard[0] not in SIGNALS:
        pass
    if heard:
        main, deadline = threading.main_thread().ident or 0, time.monotonic() + SECONDS
        time.sleep(_TICK)
        while time.monotonic() < deadline and (ending.whole_process or ending.code is None):
            if ending.swallowed or not ending.number:
                # Also where another thread was given the signal, while the main one sleeps.
                signal.pthread_kill(main, heard[0])
            time.sleep(_TICK)
        if ending.whole_process:
            if os.isatty(1):
                os.write(1, b"\x1b[?25h")  # a progress bar may have hidden the cursor
            os._exit(ending.tell(heard[0]))
        while os.read(reading, 64):  # it must stay open as long as signals are written into it
            pass
    os.close(reading)
