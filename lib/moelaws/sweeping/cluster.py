"""A Dask cluster as the place where a sweep runs: found by address, checked before the first run."""

import asyncio
import concurrent.futures as futures
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moelaws.json_file import read_object, text_in
from moelaws.sweeping.executors import WorkersError
from moelaws.sweeping.progress import spoken
from moelaws.sweeping.terms import CODE, Terms, Text, answer_to_terms, call_on_terms, one_thread

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as Call

_CONNECT_SECONDS = 5
_REMIND_SECONDS = 30


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
        call = self._client.submit(call_on_terms, self._terms, fn, args, kwargs, pure=False)
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
        tell: told in one sentence when there is no worker yet, and again every half minute: how long, where to look,
            and what starts one.

    Yields:
        The cluster's workers as an executor.

    Raises:
        WorkersError: no scheduler answers, or no more; a worker has another moelaws, another text or several threads.
    """
    terms = Terms(CODE, texts)
    client = _client(address)
    with _quiet():
        try:
            _wait_for_a_worker(client, address, tell)
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


def _wait_for_a_worker(client: "Client", address: str, tell: Callable[[str], None]) -> None:
    place = f"--scheduler-file {address}" if Path(address).suffix == ".json" else address
    start = f"this starts one: dask worker {place} --nthreads 1"
    begin = told = time.monotonic()
    first = True
    try:
        while not client.nthreads():
            now = time.monotonic()
            if first:
                tell(f"the cluster at {address} has no workers yet; waiting for the first; {start}")
            elif now - told >= _REMIND_SECONDS:
                told = now
                tell(
                    f"for {spoken(now - begin)} no worker has come to the cluster at {address}; see what the workers "
                    f"printed (in Slurm: squeue, and the job's output){_and_dashboard(client)}; {start}"
                )
            first = False
            time.sleep(_GLANCE_SECONDS)
    except OSError:
        raise WorkersError(f"the scheduler at {address} is gone; no worker had come to it") from None


def _and_dashboard(client: "Client") -> str:
    with suppress(Exception):  # it may have been started without one
        return f" and {client.dashboard_link}"
    return ""


_GLANCE_SECONDS = 0.5


def _client(address: str) -> "Client":
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise WorkersError("distributed is not installed; a Dask cluster needs pip install 'moelaws[scale]'") from None
    file = Path(address)
    try:
        at = text_in(read_object(file), "address", str(file)) if file.suffix == ".json" else address
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
    for worker, answer in client.run(answer_to_terms, terms, on_error="return").items():
        if isinstance(answer, BaseException):
            answer = f"it cannot load moelaws {terms.code}; install the same there ({answer})"
        if answer:
            raise WorkersError(f"worker {worker}: {answer}")
    for worker, threads in client.nthreads().items():
        try:
            one_thread(threads)
        except WorkersError as error:
            raise WorkersError(f"worker {worker}: {error}") from None
