"""``moelaws sweep``: run a sweep, or go on with one."""

import argparse
import importlib
import itertools
import math
import sys
import traceback
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moelaws.cli.boundary import tell
from moelaws.cli.values import MOST_WORKERS, number, path, whole
from moelaws.interrupt import promise
from moelaws.quote import number_of, sentence, shown
from moelaws.runs.writing.append import recorded_runs
from moelaws.stages import stage
from moelaws.training.saving import SAVE_EVERY

if TYPE_CHECKING:
    from moelaws.sweeping.progress import Progress
    from moelaws.sweeping.sweep import SweepRun


_MOST_RUNS = 1_000_000
_BOOK = tuple(f"howmany.designs.{name}" for name in ("sweeps", "program_sweeps", "neighbour_sweeps"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "name",
        help="one of the book's (a wrong name lists them), PACKAGE.MODULE:FUNCTION of yours, or FILE.csv, a table of"
        " runs to be made as moelaws next --out writes it",
    )
    parser.add_argument("--out", type=path, help="run table to append to (default data/runs/NAME.csv)")
    parser.add_argument("--workers", type=whole(1, MOST_WORKERS), help="local processes of one thread each (default 2)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="run on the Dask cluster with this scheduler instead")
    parser.add_argument("--limit", type=whole(1, 1_000_000), help="stop after this many runs")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (GPUs in turn) or one GPU, as in cuda:1")
    parser.add_argument(
        "--save-every", type=number(0, 1e6), default=SAVE_EVERY, metavar="SECONDS",
        help=f"save the state of a run that takes longer, to go on from if it is killed (default {SAVE_EVERY:g})",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true", help="print the runs, their FLOPs and how long they would take here"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the sweep, a line a run."""
    if _is_table(options.name) and options.out is None:
        raise ValueError(f"{options.name}: say by --out which run table its runs are to go to")
    out = options.out or Path("data/runs") / f"{options.name.rpartition(':')[2]}.csv"
    with promise(lambda: _kept(options, out)):
        return _sweep(options, out)


def _kept(options: argparse.Namespace, out: Path) -> str:
    if options.dry_run:
        return "nothing was written"
    safe = len(recorded_runs(out))
    return f"{number_of(safe, 'run')} {'is' if safe == 1 else 'are'} safe in {out}, the same command goes on"


def _sweep(options: argparse.Namespace, out: Path) -> int:
    from moelaws.sweeping.executors import require_training

    require_training()
    from moelaws.sweeping.sweep import SweepError, run_sweep

    if options.workers is not None and options.scheduler is not None:
        raise ValueError("--workers is for local processes; a cluster has the workers that were started in it")
    if _is_table(options.name):
        from moelaws.sweeping.planned_table import runs_of_table

        runs = runs_of_table(options.name)
    else:
        runs = runs_of(options.name, find_sweep(options.name))
    if options.dry_run:
        _forecast(runs, out, options)
        return 0
    try:
        with stage("training the runs, by their FLOPs", 1.0) as done:

            def on_row(row: dict[str, Any], progress: "Progress") -> None:
                _print_row(row, progress)
                done(progress.flops / progress.total_flops)

            count = run_sweep(
                runs, out, workers=options.workers or 2, limit=options.limit, scheduler=options.scheduler,
                device=options.device, on_row=on_row, on_event=tell, save_every=options.save_every,
            )  # fmt: skip
    except SweepError as error:
        tell(str(error))
        return 1
    print(f"{number_of(count, 'run')} trained, {len(runs)} in the sweep; table: {out}")
    return 0


def _is_table(name: str) -> bool:
    return name.endswith(".csv")


def find_sweep(name: str) -> Any:
    """The function that returns a sweep's runs.

    Raises:
        ValueError: no such module or function, with those there are, or the module cannot be imported.
    """
    module_name, _, function = name.rpartition(":")
    # A reader's sweep lies in the folder they work in; the installed command would not look there.
    if module_name and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    known = []
    for place in (module_name,) if module_name else _BOOK:
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as error:
            if not module_name and error.name == place.partition(".")[0]:
                raise ValueError(
                    f"sweep {shown(name)}: the book's own sweeps come with its repository, not with the installed "
                    "package; name a sweep of yours as PACKAGE.MODULE:FUNCTION"
                ) from None
            raise ValueError(f"sweep {shown(name)}: no module {shown(error.name or place)}") from None
        except (Exception, SystemExit) as error:
            raise ValueError(f"sweep {shown(name)}: {shown(place)} cannot be imported: {_cause(error)}") from error
        sweeps = {
            key: value
            for key, value in vars(module).items()
            if callable(value) and not key.startswith("_") and getattr(value, "__module__", "") == module.__name__
        }
        if function in sweeps:
            return sweeps[function]
        known.append(f"{module.__name__} has {', '.join(sorted(sweeps)) or 'no function of its own'}")
    raise ValueError(f"sweep {shown(name)}: {'; '.join(known)}")


def runs_of(name: str, function: Callable[[], Any]) -> "list[SweepRun]":
    """What a function of the reader's returns, if it is the runs of a sweep.

    Raises:
        ValueError: it raises, or returns something else.
    """
    from moelaws.config import ModelConfig, RunConfig, TrainConfig
    from moelaws.sweeping.sweep import SweepRun

    try:
        runs = list(itertools.islice(function(), _MOST_RUNS + 1))
    except (Exception, SystemExit) as error:
        if isinstance(error, ValueError) and type(error).__module__.startswith("moelaws."):
            raise  # the reader's configuration is what is wrong, and the message says so
        raise ValueError(f"sweep {shown(name)}: the function fails: {_cause(error)}") from error
    if len(runs) > _MOST_RUNS:
        raise ValueError(f"sweep {shown(name)}: more than {_MOST_RUNS} runs")
    for item in runs:
        if not isinstance(item, SweepRun):
            raise ValueError(f"sweep {shown(name)}: found {_kind(item)} among its runs, expected SweepRun")
        for part, kind in (("run", RunConfig), ("run.model", ModelConfig), ("run.train", TrainConfig),
                           ("run.corpus", str), ("run.corpus_sha256", str), ("sweep", str)):  # fmt: skip
            value = attrgetter(part)(item)
            if not isinstance(value, kind):
                raise ValueError(f"sweep {shown(name)}: {part} of a run is {_kind(value)}, expected a {kind.__name__}")
        if item.budget is not None and not (isinstance(item.budget, int | float) and 0 < item.budget < math.inf):
            raise ValueError(f"sweep {shown(name)}: budget = {shown(item.budget)}: expected None or a number > 0")
    return runs


def _cause(error: BaseException) -> str:
    """What an error in the reader's file says, and where in it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    line = f"{Path(place.filename).name}, line {place.lineno}"
    if isinstance(error, SyntaxError):
        line = f"{Path(error.filename or '').name}, line {error.lineno}"
        return f"SyntaxError: {error.msg} ({line})"
    return f"{type(error).__name__}: {sentence(str(error), 160)} ({line})"


def _kind(value: object) -> str:
    return f"{shown(value)} ({type(value).__name__})"


def _forecast(runs: "list[SweepRun]", out: Path, options: argparse.Namespace) -> None:
    """Print the runs, and how long those without a row would take."""
    from moelaws.sweeping.estimate import estimate
    from moelaws.sweeping.executors import check_device
    from moelaws.sweeping.progress import spoken
    from moelaws.sweeping.sweep import open_workers, pin

    if options.scheduler is None:
        check_device(options.device)
    recorded = recorded_runs(out)  # first: a file of somebody's is refused before texts are tokenized
    pinned = pin(runs)
    _print_runs(list(pinned.values()))
    done = recorded & set(pinned)
    waiting = [item for run_id, item in pinned.items() if run_id not in done]
    waiting = sorted(waiting, key=lambda item: -item.train_flops)[: options.limit]
    if done:
        print(f"{len(done)} of them are in {out}; {len(waiting)} would be trained")
    if not waiting:
        return
    with open_workers(waiting, options.workers or 2, options.scheduler, options.device, tell) as pool:
        found = estimate(waiting, pool, pool.workers, options.device)
    place = f"the cluster at {options.scheduler}" if options.scheduler else "this machine"
    print(
        f"about {spoken(found.seconds)} with {number_of(found.workers, 'worker')} on {place}, each at "
        f"{found.rate / 1e9:.1f} GFLOP/s (from some steps of {found.samples} configurations,"
        f" met within {found.misfit:.0%})"
    )


def _print_runs(runs: "list[SweepRun]") -> None:
    print(f"{'budget':>9} {'E':>3} {'K':>2} {'d':>4} {'tokens':>10} {'FLOPs':>9} {'seed':>4}")
    for item in sorted(runs, key=lambda item: -item.train_flops):
        model, train = item.run.model, item.run.train
        print(
            f"{item.budget or 0:9.2g} {model.n_experts:3} {model.top_k:2} {model.d_model:4} {train.tokens:10} "
            f"{item.train_flops:9.3g} {train.seed:4}"
        )
    print(f"{number_of(len(runs), 'run')}, {sum(item.train_flops for item in runs):.3g} FLOPs", flush=True)


def _print_row(row: dict[str, Any], progress: "Progress") -> None:
    from moelaws.sweeping.progress import spoken

    result = f"loss {row['loss']:.4f}" if "loss" in row else f"{row['status']}: {row['reason']}"
    print(
        f"{progress.runs:4}/{progress.total_runs}  C {row['train_flops']:.2g}  E {row['n_experts']:<3} "
        f"d {row['d_model']:<4} seed {row['seed']}  {result}  {spoken(row['seconds'])}  "
        f"{progress.flops / progress.total_flops:.0%} of the FLOPs at {progress.rate * progress.workers / 1e9:.1f} "
        f"GFLOP/s, {spoken(progress.seconds_left)} left",
        flush=True,
    )
