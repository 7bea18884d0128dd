"""Worker processes on this machine: one call each at a time, replaced when killed, gone when their parent is."""

import concurrent.futures as futures
import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import resource_tracker
from typing import Any

from moelaws.process import Habits, ProcessLost, TiedProcess, leave_signals_to_main


class WorkersError(ValueError):
    """The workers can do nothing: they do not start, cannot be reached, or have other code or text."""


class WorkerLostError(RuntimeError):
    """A call's worker process was killed each time the call was tried."""


class Workers(futures.Executor):
    """Worker processes on this machine, for calls that take long.

    Calls start in the order in which they were submitted. A process that is killed is replaced and its call made
    again; the other processes do not notice. The processes start with their first call and end with the executor,
    however that ends: a coordinator that is killed takes them with it. Ctrl-C and SIGTERM are the coordinator's: the
    processes do not hear them, and end when it says so.

    Attributes:
        workers: number of processes.
    """

    def __init__(
        self,
        workers: int,
        habits: Habits | None = None,
        tries: int = 3,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare the workers.

        Args:
            workers: number of processes.
            habits: what they do besides making calls; ``begin`` is given the number of the process, from 0, first.
            tries: processes that a call may cost their life before it is given up.
            on_event: told in one sentence that a process was killed; called from other threads.
        """
        resource_tracker.ensure_running()  # in this thread, see leave_signals_to_main
        self.workers = workers
        self._tries, self._on_event = tries, on_event
        self._places = [_Place(_numbered(habits or Habits(), number)) for number in range(workers)]
        self._free: queue.SimpleQueue[_Place] = queue.SimpleQueue()
        for place in self._places:
            self._free.put(place)
        self._threads = futures.ThreadPoolExecutor(workers, initializer=leave_signals_to_main)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        """Make a call in the next free process.

        Returns:
            The call's future. Its exception is ``WorkerLostError`` when the call cost several processes their
            life, and ``WorkersError`` when no process could be started.
        """
        return self._threads.submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes: after the calls that were submitted or, without ``wait``, at once."""
        try:
            if not wait:
                self._ask_to_end()
            self._threads.shutdown(wait=True, cancel_futures=cancel_futures or not wait)
        finally:  # also where Ctrl-C ends the waiting: threads that wait for a process would keep Python from ending
            self._ask_to_end()
            for place in self._places:
                place.clear()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error or Ctrl-C nobody wants to wait for runs that may take hours.
        self.shutdown(wait=kind is None)

    def _ask_to_end(self) -> None:
        for place in self._places:
            place.ask_to_end()

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        place = self._free.get()
        try:
            for death in range(1, self._tries + 1):
                try:
                    return place.call(fn, args, kwargs)
                except ProcessLost:
                    place.clear()
                    if place.ended:
                        break
                    if death < self._tries and self._on_event is not None:
                        self._on_event("a worker process was killed; what it was doing is begun again in a new one")
            times = f" {self._tries} times" if self._tries > 1 else ""
            raise WorkerLostError(f"its worker process was killed{times}; did the memory suffice?")
        finally:
            self._free.put(place)


class _Place:
    """Where one process lives; empty before its first call and after its process was killed."""

    def __init__(self, habits: Habits) -> None:
        self.ended = False
        self._habits = habits
        self._process: TiedProcess | None = None
        self._lock = threading.Lock()

    def call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (self._process or self._start()).call(fn, args, kwargs)

    def ask_to_end(self) -> None:
        """Let the process end, for good."""
        with self._lock:
            self.ended = True
            if self._process is not None:
                self._process.ask_to_end()

    def clear(self) -> None:
        """End the process if there is one; only where no call is under way."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.end()

    def _start(self) -> TiedProcess:
        for _ in range(_STARTS):
            with self._lock:
                if self.ended:
                    raise ProcessLost
                self._process = process = TiedProcess(self._habits)
            try:
                process.wait()
                return process
            except ProcessLost:
                self.clear()
        if self.ended:
            raise ProcessLost
        raise WorkersError(
            "the worker processes do not start: see what they printed; a script that runs a sweep needs "
            'the line: if __name__ == "__main__":'
        )


_STARTS = 3


def _numbered(habits: Habits, number: int) -> Habits:
    return replace(habits, arguments=(number, *habits.arguments))
