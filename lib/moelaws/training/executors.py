"""Local worker processes: one call each at a time, one GPU each where there are several, replaced when killed."""

import concurrent.futures as futures
import importlib.util
import multiprocessing
import os
import queue
import re
import signal
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

# A call that has cost this many processes their life will cost the next one its life too.
_DEATHS = 3


class WorkersError(ValueError):
    """The workers of a sweep can train nothing: they do not start, cannot be reached, or have other code or text."""


class WorkerLostError(RuntimeError):
    """A call's worker process was killed each time the call was tried."""


class LocalWorkers(futures.Executor):
    """Worker processes on this machine, for calls that take long.

    Calls start in the order in which they were submitted. A process that is killed is replaced and its call made
    again; the other processes do not notice. The processes start with their first call and end with the executor,
    however that ends: a coordinator that is killed takes them with it.

    Attributes:
        workers: number of processes.
    """

    def __init__(self, workers: int, device: str = "auto", on_event: Callable[[str], None] | None = None) -> None:
        """Prepare the workers.

        Args:
            workers: number of processes.
            device: ``auto`` or ``cuda`` to give the machine's GPUs to the workers in turn; else see ``train``.
            on_event: told in one sentence that a process was killed; called from other threads.
        """
        self.workers = workers
        self._on_event = on_event
        self._places = [_Place(number, device) for number in range(workers)]
        self._free: queue.SimpleQueue[_Place] = queue.SimpleQueue()
        for place in self._places:
            self._free.put(place)
        self._threads = futures.ThreadPoolExecutor(workers, initializer=_leave_interrupts_to_main)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        """Make a call in the next free process.

        Returns:
            The call's future. Its exception is ``WorkerLostError`` when the call cost several processes their
            life, and ``WorkersError`` when no process could be started.
        """
        return self._threads.submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes: after the calls that were submitted or, without ``wait``, at once."""
        if not wait:
            for place in self._places:
                place.end()
        self._threads.shutdown(wait=True, cancel_futures=cancel_futures or not wait)
        for place in self._places:
            place.end()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error or Ctrl-C nobody wants to wait for runs that may take hours.
        self.shutdown(wait=kind is None)

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        place = self._free.get()
        try:
            for death in range(1, _DEATHS + 1):
                try:
                    return place.call(fn, args, kwargs)
                except BrokenProcessPool:
                    place.clear()
                    if death < _DEATHS and self._on_event is not None and not place.ended:
                        self._on_event("a worker process was killed; what it was doing is begun again in a new one")
            raise WorkerLostError(f"its worker process was killed {_DEATHS} times; did the memory suffice?")
        finally:
            self._free.put(place)


class _Place:
    """Where one process lives; empty before its first call and after its process was killed."""

    def __init__(self, number: int, device: str) -> None:
        self.ended = False
        self._number, self._device = number, device
        self._pool: futures.ProcessPoolExecutor | None = None
        self._line: Connection | None = None  # the process ends when this end of its line is closed
        self._lock = threading.Lock()

    def call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        pool = self._pool or self._start()
        return pool.submit(fn, *args, **kwargs).result()

    def clear(self) -> None:
        """End the process now."""
        with self._lock:
            if self._line is not None:
                self._line.close()
            pool, self._pool, self._line = self._pool, None, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def end(self) -> None:
        """End the process for good."""
        self.ended = True
        self.clear()

    def _start(self) -> futures.ProcessPoolExecutor:
        for _ in range(_DEATHS):
            context = multiprocessing.get_context("spawn")
            theirs, ours = context.Pipe(duplex=False)
            pool = futures.ProcessPoolExecutor(
                1, mp_context=context, initializer=_begin, initargs=(theirs, self._number, self._device)
            )
            with self._lock:
                if self.ended:
                    raise BrokenProcessPool("the executor is shut down")
                self._pool, self._line = pool, ours
            with suppress(BrokenProcessPool):
                pool.submit(_ready).result()
                return pool
            self.clear()
        if self.ended:
            raise BrokenProcessPool("the executor is shut down")
        raise WorkersError(
            "the worker processes do not start: see what they printed; a script that runs a sweep needs "
            'the line: if __name__ == "__main__":'
        )


def require_training() -> None:
    """Check that what training needs is installed, without importing it.

    Raises:
        WorkersError: a package is missing, by name.
    """
    for name in ("torch", "tokenizers"):
        try:
            found = importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            raise WorkersError(f"{name} is not installed; training needs pip install 'moelaws[train]'")


def check_device(device: str) -> None:
    """Check that a device can be had on this machine.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:2``.

    Raises:
        WorkersError: another word, or torch sees no such device.
    """
    if device in ("auto", "cpu"):
        return
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise WorkersError(f"device {device!r}: expected auto, cpu, cuda, or one GPU as in cuda:0")
    import torch

    count = torch.cuda.device_count()
    if int(device.partition(":")[2] or 0) >= count:
        raise WorkersError(f"device {device!r}: PyTorch sees {count} CUDA devices on this machine")


def take_gpu(number: int, device: str) -> None:
    """Make a GPU this process's own where the machine has several; workers take them in turn.

    Args:
        number: the worker's, from 0.
        device: what the sweep asked for; one that names a GPU is left alone.
    """
    if device not in ("auto", "cuda"):
        return
    import torch

    count = torch.cuda.device_count()
    if count > 1:
        torch.cuda.set_device(number % count)


def _begin(line: Connection, number: int, device: str) -> None:
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    take_gpu(number, device)


def _end_with(line: Connection) -> None:
    """Wait until the coordinator closes the line, or dies, which closes it as well."""
    with suppress(EOFError, OSError):
        line.recv_bytes()
    os._exit(1)


def _ready() -> None:
    """A call that fails when the process did not come up."""


def _leave_interrupts_to_main() -> None:
    # Processes inherit this from the thread that starts them: Ctrl-C reaches the coordinator alone, which ends them.
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
