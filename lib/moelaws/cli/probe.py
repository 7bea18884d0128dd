"""``moelaws probe``: train recorded runs again and ask what they can do; a stopped recording goes on where it was."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from moelaws.cli.boundary import tell
from moelaws.cli.table import add_table, load_table, say
from moelaws.cli.values import MOST_WORKERS, path, whole
from moelaws.interrupt import promise
from moelaws.quote import number_of, shown
from moelaws.runs import finished
from moelaws.stages import stage

if TYPE_CHECKING:
    from moelaws.probing.probing import Probed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_table(parser, "seed == 0 and budget == 1e12")
    parser.add_argument(
        "--out", type=path, help="table of probes to append to (default data/probes/ and the run table's name)"
    )
    parser.add_argument(
        "--items", type=whole(1, 1_000_000), default=1000, help="questions in a probe at most (default 1000)"
    )
    parser.add_argument("--probe", action="append", metavar="NAME", help="this probe only; may be given again")
    parser.add_argument(
        "--workers", type=whole(1, MOST_WORKERS), default=1, help="local processes of one thread each (default 1)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (GPUs in turn) or one GPU, as in cuda:1")
    parser.add_argument("--dry-run", action="store_true", help="print the runs only")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Probe, a line a run; 1 if a run could not be probed or has another loss than the table says."""
    from moelaws.sweeping.executors import require_training

    require_training()
    from moelaws.probing.probes import NAMES
    from moelaws.probing.probing import ProbingError, probe_runs
    from moelaws.training.record import check_rows, require_recorded

    for probe in options.probe or ():
        if probe not in NAMES:
            raise ValueError(f"--probe {shown(probe)}: expected one of {', '.join(NAMES)}")
    loaded = load_table(options, required=())
    require_recorded(loaded.runs.columns, options.table.name)
    say(loaded, {})
    table = finished(loaded.runs)
    if table.empty:
        meets = f" meets {shown(options.where)}" if options.where else ""
        raise ValueError(f"{options.table.name}: no finished run{meets}")
    check_rows(table, options.table.name)
    if options.dry_run:
        for _, row in table.sort_values("train_flops", ascending=False).iterrows():
            print(f"{row['run_id']}  C {row['train_flops']:.2g}  E {row['n_experts']:<3} d {row['d_model']}")
        print(f"{number_of(len(table), 'run')}, {table['train_flops'].sum():.3g} FLOPs")
        return 0
    out = options.out or Path("data/probes") / options.table.name
    unequal: list[str] = []

    def print_run(found: "Probed", number: int, total: int) -> None:
        if found.status == "finished" and not found.equal:
            unequal.append(found.row["run_id"])
        print(_line(found, number, total), flush=True)
        done(number)

    rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    try:
        kept = f"what is in {out} is safe, the same command goes on"
        with promise(lambda: kept), stage("probing the runs", len(table)) as done:
            count = probe_runs(
                rows, out, options.items, options.probe, options.workers, options.device, on_run=print_run,
                on_event=tell,
            )  # fmt: skip
    except ProbingError as error:
        tell(str(error))
        return 1
    print(f"{number_of(count, 'row')} appended; table: {out}")
    if unequal:
        print(
            f"moelaws: {number_of(len(unequal), 'run')} ended with another loss than {options.table.name}"
            f" says: {unequal[0]} ..."
        )
    return 0


def _line(found: "Probed", number: int, total: int) -> str:
    row = found.row
    start = (
        f"{number:4}/{total}  {row['run_id']}  C {row['train_flops']:.2g}  "
        f"E {row['n_experts']:<3} d {row['d_model']:<4}"
    )
    if not found.status:
        return f"{start} has all its rows"
    if found.status != "finished":
        return f"{start} {found.status}: no rows"
    verdict = "equal to the recorded one" if found.equal else f"recorded {row['loss']:.6f}"
    return f"{start} loss {found.loss:.6f}, {verdict}; {number_of(len(found.rows), 'row')}, {found.seconds:.0f} s"
