"""A process that makes calls, one at a time, and ends with the process that started it, however that ends."""

import multiprocessing
import os
import pickle
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from typing import Any

_READY, _END = b"ready", b"end"  # no pickle begins with these
_PATIENCE = 2.0  # seconds for a process that has something to put in order


@dataclass(frozen=True)
class Habits:
    """What a process does besides making calls. The functions must be importable by name.

    Attributes:
        begin: called first.
        arguments: of ``begin``.
        end: called before the process ends because somebody ends it, or because its parent has ended.
    """

    begin: Callable[..., None] | None = None
    arguments: tuple[Any, ...] = ()
    end: Callable[[], None] | None = None


class ProcessLost(Exception):
    """The process ended before it had answered."""


class TiedProcess:
    """A process and the line to it; when this end of the line is closed, the process ends.

    It leaves Ctrl-C and SIGTERM to its parent if it is started in a thread after ``leave_signals_to_main``.
    """

    def __init__(self, habits: Habits) -> None:
        """Start the process; returns before it can be called.

        Raises:
            OSError: the system has no room for another process.
        """
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, habits))
        self._process.start()
        theirs.close()
        self._patience = 0.0 if habits.end is None else _PATIENCE
        # One that nobody ends must not keep the interpreter from ending.
        self._kill = Finalize(self, _kill, args=(self._process,), exitpriority=0)

    def wait(self) -> None:
        """Wait until it can be called.

        Raises:
            ProcessLost: it did not come up.
        """
        self._answer(_READY)

    def call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call there; what it returns or raises is returned or raised here.

        Raises:
            ProcessLost: it was killed meanwhile.
        """
        succeeded, value = pickle.loads(self._answer(pickle.dumps((fn, args, kwargs))))
        if not succeeded:
            raise value
        return value

    def ask_to_end(self) -> None:
        """Have it end, after its own habit of ending or, where it has none, at once. May be called in any thread."""
        if self._patience:
            with suppress(OSError):
                self._line.send_bytes(_END)
        else:
            self._process.kill()

    def end(self) -> None:
        """Wait for its end, and kill it if that takes too long; no call may be under way in another thread."""
        self.ask_to_end()
        self._process.join(self._patience)
        self._kill()
        self._process.join()
        self._line.close()

    def _answer(self, call: bytes) -> bytes:
        try:
            self._line.send_bytes(call)
            return self._line.recv_bytes()
        except (EOFError, OSError):
            raise ProcessLost from None


def leave_signals_to_main() -> None:
    """Keep Ctrl-C and SIGTERM from this thread, and from the processes that are started in it."""
    # multiprocessing's own helper unblocks them in the thread that starts it: that must have happened before.
    resource_tracker.ensure_running()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


def _kill(process: Any) -> None:
    process.kill()


def _serve(line: Connection, habits: Habits) -> None:
    """What the process does."""
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(line, calls, habits.end), daemon=True).start()
    if habits.begin is not None:
        habits.begin(*habits.arguments)
    while True:
        call = calls.get()
        line.send_bytes(_READY if call == _READY else _made(call))


def _listen(line: Connection, calls: "queue.SimpleQueue[bytes]", end: Callable[[], None] | None) -> None:
    """Take calls until somebody wants the end, or the parent has died, which closes the line."""
    with suppress(EOFError, OSError):
        while (call := line.recv_bytes()) != _END:
            calls.put(call)
    try:
        if end is not None:
            end()
    finally:
        os._exit(1)


def _made(call: bytes) -> bytes:
    """Make a call; whether it succeeded, and its result or its error, pickled."""
    try:
        fn, args, kwargs = pickle.loads(call)
        return pickle.dumps((True, fn(*args, **kwargs)))
    except BaseException as error:
        error.add_note("".join(traceback.format_exception(error)))
        try:
            answer = pickle.dumps((False, error))
            pickle.loads(answer)
            return answer
        except Exception:  # errors of some libraries cannot travel
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
