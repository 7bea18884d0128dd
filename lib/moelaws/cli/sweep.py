"""``moelaws sweep``: run a sweep, or go on with one."""

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moelaws.training.sweep import Progress, SweepRun


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("sweep", help="train the runs of a sweep; a stopped sweep goes on where it was")
    parser.add_argument("name", help="a function of moelaws.training.sweeps, or PACKAGE.MODULE:FUNCTION of yours")
    parser.add_argument("--out", type=Path, help="run table to append to (default data/runs/NAME.csv)")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each (default 2)")
    parser.add_argument("--limit", type=int, help="stop after this many runs")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--dry-run", action="store_true", help="print the runs and their FLOPs, train nothing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the sweep, a line a run."""
    try:
        from moelaws.training.sweep import SweepError, run_sweep
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed; training needs pip install 'moelaws[train]'") from None
    if options.workers < 1:
        raise ValueError(f"--workers {options.workers}: expected a whole number >= 1")
    runs = find_sweep(options.name)()
    if options.dry_run:
        _print_runs(runs)
        return 0
    out = options.out or Path("data/runs") / f"{options.name.rpartition(':')[2]}.csv"
    try:
        count = run_sweep(
            runs, out, workers=options.workers, limit=options.limit, device=options.device, on_row=_print_row
        )
    except SweepError as error:
        print(f"moelaws: {error}")
        return 1
    print(f"{count} runs trained, {len(runs)} in the sweep; table: {out}")
    return 0


def find_sweep(name: str) -> Any:
    """The function that returns a sweep's runs.

    Raises:
        ValueError: no such module or function; the message lists the book's sweeps.
    """
    module_name, _, function = name.rpartition(":")
    # A reader's sweep lies in the folder they work in; the installed command would not look there.
    if module_name and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name or "moelaws.training.sweeps")
    except ModuleNotFoundError as error:
        raise ValueError(f"sweep {name!r}: no module {error.name!r}") from None
    found = getattr(module, function, None)
    if function.startswith("_") or not callable(found) or getattr(found, "__module__", "") != module.__name__:
        known = sorted(
            key
            for key, value in vars(module).items()
            if callable(value) and not key.startswith("_") and value.__module__ == module.__name__
        )
        raise ValueError(f"sweep {name!r}: {module.__name__} has {', '.join(known)}")
    return found


def _print_runs(runs: "list[SweepRun]") -> None:
    print(f"{'budget':>9} {'E':>3} {'K':>2} {'d':>4} {'tokens':>10} {'FLOPs':>9} {'seed':>4}")
    for item in sorted(runs, key=lambda item: -item.train_flops):
        model, train = item.run.model, item.run.train
        print(
            f"{item.budget or 0:9.2g} {model.n_experts:3} {model.top_k:2} {model.d_model:4} {train.tokens:10} "
            f"{item.train_flops:9.3g} {train.seed:4}"
        )
    print(f"{len(runs)} runs, {sum(item.train_flops for item in runs):.3g} FLOPs")


def _print_row(row: dict[str, Any], progress: "Progress") -> None:
    result = f"loss {row['loss']:.4f}" if "loss" in row else f"{row['status']}: {row['reason']}"
    print(
        f"{progress.runs:4}/{progress.total_runs}  C {row['train_flops']:.2g}  E {row['n_experts']:<3} "
        f"d {row['d_model']:<4} seed {row['seed']}  {result}  {row['seconds']:.0f} s  "
        f"left {progress.seconds_left / 60:.1f} min",
        flush=True,
    )
