"""``moelaws rerun``: train recorded runs again and compare; keep their checkpoints if asked."""

import argparse

import pandas as pd

from moelaws.cli.table import add_table, load_table, say
from moelaws.cli.values import path, seed, whole
from moelaws.quote import plain, shown
from moelaws.runs import RunTableError, load_runs
from moelaws.runs.reading.rename import parse_map
from moelaws.stages import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_table(parser, "train_flops < 1e11")
    parser.add_argument("--sample", type=whole(1, 1_000_000), default=2, help="how many, drawn at random (default 2)")
    parser.add_argument("--smallest", action="store_true", help="those of the fewest FLOPs, not a random sample")
    parser.add_argument("--seed", type=seed, default=0, help="of the sample")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--exact", action="store_true", help="demand equal bits: the recording machine and versions")
    parser.add_argument("--save", type=path, metavar="FOLDER", help="write each model to FOLDER/RUN_ID (OLMoE layout)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, compare, print a line a run; 1 if one disagrees."""
    try:
        from moelaws.models.checkpoint import check_folder, save_checkpoint
        from moelaws.sweeping.executors import check_device
        from moelaws.sweeping.rerun import rerun
        from moelaws.text.text import load_text
        from moelaws.training.record import check_rows, require_recorded
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed; training needs pip install 'moelaws[train]'") from None
    loaded = load_table(options, required=())
    require_recorded(loaded.runs.columns, options.table.name)
    if options.save is not None and options.save.exists() and not options.save.is_dir():
        raise ValueError(f"--save {options.save}: a file; expected a folder")
    check_device(options.device)
    say(loaded, {})
    chosen = _choose(loaded.runs, options)
    check_rows(chosen, options.table.name)
    if options.save is not None:
        for run_id in chosen["run_id"]:
            check_folder(options.save / run_id)
    disagree = 0
    others: dict[str, tuple[str, str]] = {}
    trained = rerun(chosen, _whole(loaded.runs, options), options.device)
    for item in counted(trained, "training the runs again", len(chosen)):
        verdict = "equal" if item.equal else "within three seed deviations" if item.agrees else "DISAGREES"
        disagree += not (item.equal if options.exact else item.agrees)
        if not item.equal:
            others |= item.differs
        print(
            f"{item.row['run_id']}  C {item.row['train_flops']:.2g}  E {item.row['n_experts']:<3} "
            f"d {item.row['d_model']:<4} recorded {item.row['loss']:.6f}  found {item.loss:.6f}  {verdict}",
            flush=True,
        )
        if options.save is not None:
            model = item.result.model
            text = load_text(item.result.run.corpus, model.config.vocab_size)
            # Not the row's word for it, which may be any path.
            save_checkpoint(model, options.save / item.result.run.run_id, getattr(text, "tokenizer_file", None))
    for name, (recorded, now) in others.items():
        commit = ", at whose commit the bits are equal" if name == "moelaws" else ""
        print(f"not equal by {name}: recorded with {plain(recorded, 80)}{commit}; here {now}")
    if disagree:
        print(f"moelaws: {disagree} of the runs are not what {options.table.name} says")
    return int(disagree > 0)


def _whole(chosen: pd.DataFrame, options: argparse.Namespace) -> pd.DataFrame:
    """All rows of the table: the seeds of the others say how large chance is."""
    if not options.where:
        return chosen
    try:
        return load_runs(options.table, parse_map(options.map), required=()).runs
    except RunTableError as error:
        print(f"only the rows chosen say how large chance is ({error})")
        return chosen


def _choose(table: pd.DataFrame, options: argparse.Namespace) -> pd.DataFrame:
    if table.empty:
        raise ValueError(f"{options.table.name}: no run meets {shown(options.where)}")
    if options.smallest:
        return table.nsmallest(options.sample, "train_flops")
    return table.sample(min(options.sample, len(table)), random_state=options.seed)
