"""Where training runs on this machine: what it needs, which device, local worker processes, threads of a GPU."""

import concurrent.futures as futures
import importlib.util
import itertools
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from moelaws.process import Habits
from moelaws.workers import WorkerLostError, Workers, WorkersError

__all__ = [
    "DeviceWorkers", "LocalWorkers", "WorkerLostError", "WorkersError", "check_device", "on_gpu",
    "require_training", "take_gpu", "thread_end",
]  # fmt: skip


class LocalWorkers(Workers):
    """Worker processes that train, one run each at a time; on a machine with several GPUs they take them in turn."""

    def __init__(self, workers: int, device: str = "auto", on_event: Callable[[str], None] | None = None) -> None:
        """Prepare the workers.

        Args:
            workers: number of processes.
            device: ``auto`` or ``cuda`` to give the machine's GPUs to the workers in turn; else see ``train``.
            on_event: told in one sentence that a process was killed; called from other threads.
        """
        super().__init__(workers, Habits(take_gpu, (device,)), on_event=on_event)


class DeviceWorkers(futures.ThreadPoolExecutor):
    """Threads of this process that train on its GPUs, one run each at a time.

    Processes take turns on a GPU, and a tiny model leaves most of it idle in its turn. Threads of one process share
    it: their kernels run side by side.

    Attributes:
        workers: number of threads.
    """

    def __init__(self, workers: int, device: str) -> None:
        """Prepare the workers.

        Args:
            workers: number of threads.
            device: ``auto`` or ``cuda`` to give the machine's GPUs to the threads in turn, or one GPU.
        """
        self.workers = workers
        self._end = threading.Event()
        numbers = itertools.count()

        def begin() -> None:
            _THREAD.end = self._end
            take_gpu(next(numbers), device)

        super().__init__(workers, thread_name_prefix="moelaws", initializer=begin)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error or Ctrl-C nobody wants to wait for runs: they end after a few steps more.
        if kind is not None:
            self._end.set()
        self.shutdown(wait=True, cancel_futures=kind is not None)


_THREAD = threading.local()


def thread_end() -> threading.Event | None:
    """In a thread of ``DeviceWorkers``, what is set when nobody waits for its run any more; elsewhere nothing."""
    return getattr(_THREAD, "end", None)


def on_gpu(device: str) -> bool:
    """Whether a sweep on this device trains on a GPU of this machine; does not import torch where there is none."""
    if device != "auto":
        return device != "cpu"
    if not any(Path("/dev").glob("nvidia[0-9]*")) and shutil.which("nvidia-smi") is None:
        return False
    import torch

    return torch.cuda.is_available()


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
