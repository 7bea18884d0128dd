"""A Dask cluster as the place where a sweep runs: found by address, checked before the first run."""

import asyncio
import concurrent.futures as futures
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moelaws
from moelaws.training.executors import WorkersError, require_training
from moelaws.training.text import load_text

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as Call

Text = tuple[str, int, str]
"""A corpus as a worker must find it: source, vocabulary size, fingerprint of the tokens."""

_CONNECT_SECONDS = 5


def _fingerprint() -> str:
    """Hash of the code that decides what a run gives; a version number would not see a changed checkout."""
    package = Path(moelaws.__file__).parent
    files = [package / "config.py", package / "counting.py"]
    files += sorted((package / "models").glob("*.py")) + sorted((package / "training").glob("*.py"))
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


class DaskWorkers(futures.Executor):
    """The workers of a Dask cluster, with the interface of any executor.

    Calls start in the order in which they were submitted, one at a time in each worker. The scheduler gives a call
    whose worker was lost to another worker; one that has cost several workers their life ends in an error.
    """

    def __init__(self, client: "Client", terms: Terms) -> None:
        self._client, self._terms = client, terms
        self._calls: dict[futures.Future[Any], Call] = {}
        self._count = 1

    @property
    def workers(self) -> int:
        """Threads of all workers that are there now."""
        with suppress(Exception):  # a lost scheduler is told through the calls
            self._count = sum(self._client.nthreads().values()) or self._count
        return self._count

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        """Make a call in a worker of the cluster that keeps to the terms.

        Returns:
            The call's future. Its exception is ``CancelledError`` when the scheduler was lost, also where that
            happened after the call's end and before its result was here: Dask's own executor would wait for good.
        """
        call = self._client.submit(_call, self._terms, fn, args, kwargs, pure=False)
        future: futures.Future[Any] = futures.Future()
        self._calls[future] = call
        future.add_done_callback(self._forget)
        call.add_done_callback(partial(_pass_on, future))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the calls end or, without ``wait``, give them up."""
        if wait and not cancel_futures:
            futures.wait(list(self._calls))
        else:
            self._client.cancel(list(self._calls.values()))

    def _forget(self, future: futures.Future[Any]) -> None:
        call = self._calls.pop(future, None)
        # A call that was lost with the scheduler must not be cancelled there, too.
        if call is not None and future.cancelled() and call.status == "pending":
            call.cancel()


def _pass_on(future: futures.Future[Any], call: "Call") -> None:
    """Give a future what became of its call."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call.result())
    except BaseException as error:  # asyncio's CancelledError is no Exception
        lost = futures.CancelledError(f"the scheduler is gone: {error}")
        future.set_exception(error if call.status == "error" else lost)


@contextmanager
def connect(
    address: str, texts: tuple[Text, ...], tell: Callable[[str], None] = lambda _: None
) -> Iterator[DaskWorkers]:
    """Connect to a Dask cluster, wait for its first worker, and check that its workers can train the sweep.

    Args:
        address: of the scheduler, as in ``tcp://10.0.0.1:8786``, or the path of its scheduler file.
        texts: what the runs read.
        tell: told in one sentence when there is no worker yet.

    Yields:
        The cluster's workers as an executor.

    Raises:
        WorkersError: no scheduler answers; a worker has another moelaws, another text or several threads.
    """
    terms = Terms(CODE, texts)
    client = _client(address)
    with _quiet():
        try:
            if not client.nthreads():
                tell(f"the cluster at {address} has no workers yet; waiting for the first")
                client.wait_for_workers(1)
            _check(client, terms)
            workers = DaskWorkers(client, terms)
            try:
                yield workers
            finally:
                with suppress(Exception):  # the scheduler may be what is gone, which is told elsewhere
                    workers.shutdown(wait=False)
        finally:
            with suppress(Exception):
                client.close(timeout=_CONNECT_SECONDS)


def step_watch() -> Callable[[int, int, float], None] | None:
    """A function to call after each step, which ends a run in a Dask worker whose coordinator is gone.

    Returns:
        It raises ``CancelledError`` when nobody waits for the run any more; ``None`` outside a Dask worker.
    """
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


def _client(address: str) -> "Client":
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise WorkersError("distributed is not installed; a Dask cluster needs pip install 'moelaws[scale]'") from None
    file = Path(address)
    try:
        at = str(json.loads(file.read_text())["address"]) if file.suffix == ".json" else address
        # A thread has no event loop yet; a notebook has one that is running.
        with futures.ThreadPoolExecutor(1) as thread:
            role = thread.submit(asyncio.run, asyncio.wait_for(_role(at), 2 * _CONNECT_SECONDS)).result()
    except Exception as error:  # whatever may listen there, or not
        reason = str(error).partition("\n")[0] or "it listens, but says nothing"
        raise WorkersError(f"no Dask scheduler answers at {address} ({reason})") from None
    if role != "Scheduler":
        raise WorkersError(f"no Dask scheduler answers at {address} (it is a Dask {role})")
    return Client(at, timeout=_CONNECT_SECONDS, set_as_default=False)


async def _role(address: str) -> str:
    """What Dask process listens at an address. Asked first, because a client that finds none may hang for good."""
    from distributed.comm import connect
    from distributed.core import send_recv
    from distributed.security import Security

    comm = await connect(address, timeout=_CONNECT_SECONDS, **Security().get_connection_args("client"))
    try:
        return str((await send_recv(comm, op="identity", reply=True))["type"])
    finally:
        comm.abort()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log of what the coordinator says in a sentence: pages of it when a scheduler is lost."""
    sources = ("distributed", "tornado", "asyncio")
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith(sources)]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _check(client: "Client", terms: Terms) -> None:
    for worker, answer in client.run(_answer, terms, on_error="return").items():
        if isinstance(answer, BaseException):
            answer = f"it cannot load moelaws {terms.code}; install the same there ({answer})"
        if answer:
            raise WorkersError(f"worker {worker}: {answer}")
    for worker, threads in client.nthreads().items():
        try:
            _one_thread(threads)
        except WorkersError as error:
            raise WorkersError(f"worker {worker}: {error}") from None


async def _answer(terms: Terms) -> str:
    # In a thread, because tokenizing a text for the first time would silence the worker for too long.
    try:
        await asyncio.to_thread(_keep, terms)
    except ValueError as error:
        return str(error)
    return ""


def _call(terms: Terms, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a worker does: check itself, because it may have come after the sweep's start, and make the call."""
    from distributed import get_worker

    worker = get_worker()
    try:
        _keep(terms)
        _one_thread(worker.state.nthreads)
    except ValueError as error:
        raise WorkersError(f"worker {worker.address}: {error}") from None
    return fn(*args, **kwargs)


@lru_cache(maxsize=8)
def _keep(terms: Terms) -> None:
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


def _one_thread(threads: int) -> None:
    if threads > 1:
        raise WorkersError(f"it has {threads} threads; start it with --nthreads 1, one run at a time is fastest")
