"""What a worker of a cluster must have in common with the coordinator: code, texts, one thread."""

import asyncio
import concurrent.futures as futures
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import moelaws
from moelaws.sweeping.executors import WorkersError, require_training, thread_end
from moelaws.text.text import load_text

Text = tuple[str, int, str]
"""A corpus as a worker must find it: source, vocabulary size, fingerprint of the tokens."""


def _fingerprint() -> str:
    """Hash of the code that decides what a run gives; a version number would not see a changed checkout."""
    package = Path(moelaws.__file__).parent
    files = [package / "config.py", package / "counting.py"]
    for room in ("models", "reshape", "text", "training", "sweeping"):
        files += sorted((package / room).glob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:8]


# At import: what a process that lives long has loaded, not what lies on its disk by now.
CODE = f"{moelaws.__version__} ({_fingerprint()})"


@dataclass(frozen=True)
class Terms:
    """What a worker must have in common with the coordinator.

    Attributes:
        code: version and fingerprint of the library.
        texts: what the sweep's runs read.
    """

    code: str
    texts: tuple[Text, ...]


@lru_cache(maxsize=8)
def keep_terms(terms: Terms) -> None:
    """Check that this process can do the sweep's runs; once, if it can.

    Raises:
        WorkersError, CorpusError: it cannot.
    """
    if terms.code != CODE:
        raise WorkersError(f"it has moelaws {CODE}, this is moelaws {terms.code}; install the same there")
    require_training()
    for source, vocab_size, sha256 in terms.texts:
        found = load_text(source, vocab_size).sha256
        if found != sha256:
            raise WorkersError(f"its text {source} has the fingerprint {found[:16]}, the sweep's has {sha256[:16]}")


def one_thread(threads: int) -> None:
    """Check that a worker does one run at a time.

    Raises:
        WorkersError: it has more threads.
    """
    if threads > 1:
        raise WorkersError(f"it has {threads} threads; start it with --nthreads 1, one run at a time is fastest")


async def answer_to_terms(terms: Terms) -> str:
    """Why this process cannot keep to the terms, in a sentence; nothing if it can.

    The first time it may have to tokenize a text: in a thread, or the worker would be silent for too long.
    """
    try:
        await asyncio.to_thread(keep_terms, terms)
    except ValueError as error:
        return str(error)
    return ""


def call_on_terms(terms: Terms, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a worker does: check itself, because it may have come after the sweep's start, and make the call."""
    from distributed import get_worker

    worker = get_worker()
    try:
        keep_terms(terms)
        one_thread(worker.state.nthreads)
    except ValueError as error:
        raise WorkersError(f"worker {worker.address}: {error}") from None
    return fn(*args, **kwargs)


def step_watch() -> Callable[[int, int, float], None] | None:
    """A function to call after each step, which ends a run for which nobody waits: its coordinator is gone, or ends.

    Returns:
        It raises ``CancelledError`` then; ``None`` in a process of its own, which ends with its coordinator.
    """
    end = thread_end()
    if end is not None:

        def check_end(step: int, steps: int, loss: float) -> None:
            if end.is_set():
                raise futures.CancelledError(f"step {step} of {steps}: the sweep ends")

        return check_end
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        worker = get_worker()
        key = worker.get_current_task()
    except (ValueError, AttributeError):
        return None

    def check(step: int, steps: int, loss: float) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise futures.CancelledError(f"step {step} of {steps}: nobody waits for this run any more")

    return check
