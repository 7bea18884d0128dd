"""Where training runs on this machine: what it needs, which device, and local worker processes with a GPU each."""

import importlib.util
import re
from collections.abc import Callable

from moelaws.process import Habits
from moelaws.workers import WorkerLostError, Workers, WorkersError

__all__ = ["LocalWorkers", "WorkerLostError", "WorkersError", "check_device", "require_training", "take_gpu"]


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
