"""``moelaws measure``: how fast a model decodes here, and what machine that makes this one."""

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moelaws.cli.boundary import tell
from moelaws.cli.served.hardware_options import add_hardware, refuse
from moelaws.cli.served.named_model import open_model
from moelaws.cli.served.predict import predict
from moelaws.cli.served.timing_files import TIMINGS, check_files, touched_file
from moelaws.cli.values import number, path, whole, wholes
from moelaws.document import write_json
from moelaws.interrupt import promise
from moelaws.quote import number_of
from moelaws.serving.planning.model_plan import HARDWARE
from moelaws.stages import counted, stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_FORESEEN = (
    "hardware", "flops", "bandwidth", "memory_gb", "link", "dollars_per_hour", "timings", "precision", "evenness",
    "loads",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "model", nargs="?", help="a checkpoint's folder, tiny:d=64,E=8,K=1, or a JSON file of a configuration"
    )
    parser.add_argument(
        "--batch", type=wholes(1, 65_536), default=(1, 2, 4, 8, 16, 32), metavar="B,...", help="1,2,4,...,32"
    )
    parser.add_argument("--prompt", type=whole(1, 1_000_000), default=64, help="tokens of each prompt (default 64)")
    parser.add_argument("--new", type=whole(1, 1_000_000), default=32, help="decode steps (default 32)")
    parser.add_argument(
        "--passes", type=whole(1, 10_000), help="over all settings in turn (default 1; 9 with --grid or --calibrate)"
    )
    parser.add_argument(
        "--repeats",
        type=whole(1, 10_000),
        help="measured rounds of a setting in a pass (default 5; 1 with --grid or --calibrate)",
    )
    parser.add_argument("--routing", choices=("router", "uniform"), default="router", help="or experts drawn evenly")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=whole(1, 256), default=1, help="on a CPU (default 1)")
    parser.add_argument(
        "--engine",
        choices=("auto", "compiled", "eager", "llama.cpp", "transformers"),
        default="auto",
        help="compiled is what auto takes on a CPU; the last two where they are installed",
    )
    parser.add_argument(
        "--clock", choices=("wall", "processor"), default="wall", help="processor: for a busy machine, one thread"
    )
    parser.add_argument("--out", type=path, metavar="FILE", help="timing table to put the rows into")
    parser.add_argument(
        "--calibrate", action="store_true", help="time small random models and fit this machine to them"
    )
    parser.add_argument(
        "--seconds", type=number(0, 86_400), default=60.0, help="with --calibrate: time for so long (default 60)"
    )
    parser.add_argument("--grid", action="store_true", help=f"the book's grid, trained models; into {TIMINGS}")
    parser.add_argument("--json", type=path, metavar="OUT", help="with --calibrate or --predict: write it to this file")
    parser.add_argument(
        "--predict", action="store_true",
        help="run nothing: what the hardware below makes of the model, which may be a published one (moelaws count)",
    )  # fmt: skip
    add_hardware(parser, HARDWARE, gpus=1)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure or predict, a line a setting."""
    if options.predict:
        return predict(options)
    refuse(options, _FORESEEN, "goes with --predict; here it is measured on this machine")
    from moelaws.sweeping.executors import require_training

    require_training()
    chosen = [bool(options.model), options.calibrate, options.grid]
    if sum(chosen) != 1:
        raise ValueError("moelaws measure: name a model, or ask for --calibrate or --grid: one of the three")
    if options.clock == "processor" and (options.threads > 1 or options.device != "cpu"):
        raise ValueError("--clock processor: adds up threads and does not see a GPU; it is for one thread of the CPU")
    import torch

    check_files(options)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device here")
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        return _calibrate(options) if options.calibrate else _grid(options) if options.grid else _model(options)
    finally:
        torch.set_num_threads(before)


def _model(options: argparse.Namespace) -> int:
    from moelaws.measuring.grid import in_passes, measure_batches

    decoder, requests, weights = open_model(options.model, options.device, options.engine, options.threads)
    title = (
        f"{options.model}: {weights} weights, requests from {requests.name}, {options.clock} clock, "
        f"{decoder.engine} decoding"
    )
    settings = len(options.batch)
    rows = in_passes(
        lambda _: measure_batches(
            decoder, requests, options.batch, weights, options.prompt, options.new, options.repeats or 5,
            options.clock, options.routing,
        ),
        options.passes or 1,
    )  # fmt: skip
    rows = counted(rows, f"timing {options.model}", settings * (options.passes or 1))
    written = _record(rows, options.passes or 1, options.out, settings, title)
    if options.out:
        print(f"{number_of(len(written), 'row')} in {options.out}")
    return 0


def _grid(options: argparse.Namespace) -> int:
    from moelaws.decoding.engine import make_decoder
    from moelaws.measuring.grid import measure_grid
    from moelaws.measuring.loads import measure_touched
    from moelaws.measuring.requests import BATCHES
    from moelaws.measuring.rows import TOUCHED, record_rows

    out, passes = options.out or TIMINGS, options.passes or 9
    rows = measure_grid(
        passes, options.repeats or 1, options.clock, on_event=tell,
        ready=lambda model: make_decoder(model, options.engine, options.threads),
    )  # fmt: skip
    written = _record(rows, passes, out, at_once=len(BATCHES))
    counting = "counting the experts that groups of tokens touch"
    tell(counting)
    with stage(counting):
        touched = list(measure_touched())
    place = touched_file(options)
    record_rows(place, touched, TOUCHED)
    print(f"{number_of(len(written), 'row')} in {out}, {len(touched)} in {place}")
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    import pandas as pd

    from moelaws.measuring.grid import measure_calibration
    from moelaws.measuring.subjects import random_decoder
    from moelaws.serving.calibration import calibrate

    passes = options.passes or 9
    found_rows = measure_calibration(
        lambda config: random_decoder(config, options.device, options.engine, options.threads),
        options.clock, passes, options.repeats or 1, float(options.seconds),
    )  # fmt: skip
    rows = _record(_for_seconds(found_rows, options.seconds), passes, options.out, at_once=36)
    found = calibrate(pd.DataFrame(rows))
    for name, value in asdict(found.machine).items():
        print(f"{name:26} {value:.4g}")
    print(
        f"decode steps of configurations left out of the fit: {found.held_out.median:.0%} off in the median, "
        f"nine in ten within {found.held_out.p90:.0%}"
    )
    if options.out:
        print(
            f"{number_of(len(rows), 'row')} in {options.out};"
            f" moelaws plan --timings {options.out} plans for this machine"
        )
    if options.json:
        write_json(options.json, "machine", {"machine": asdict(found.machine), "held_out": asdict(found.held_out)})
    return 0


def _for_seconds(rows: "Iterable[dict[str, Any]]", seconds: float) -> "Iterator[dict[str, Any]]":
    """The rows, with the time that measuring them may take and has taken."""
    began = time.monotonic()
    with stage("timing small models", seconds) as done:
        for row in rows:
            done(min(time.monotonic() - began, seconds))
            yield row


def _record(
    rows: "Iterable[dict[str, Any]]", passes: int, out: Path | None, at_once: int, title: str = ""
) -> list[dict[str, Any]]:
    """The last row of each setting, printed; those of every pass recorded, so many at once, whatever stops the rest."""
    from moelaws.files import is_stream
    from moelaws.measuring.rows import record_rows, setting

    if out and is_stream(out):
        at_once = 0  # what cannot be read back gets all rows at the end, under one header
    last: dict[tuple[Any, ...], dict[str, Any]] = {}
    printed = 0
    waiting: list[dict[str, Any]] = []
    recorded = 0
    with promise(lambda: f"what was measured so far is in {out}" if recorded else "nothing was written"):
        try:
            for row in rows:
                waiting.append(row)
                if out and len(waiting) == at_once:
                    record_rows(out, waiting)
                    recorded += len(waiting)
                    waiting = []
                last[setting(row)] = row
                if row["passes"] == passes:
                    if title and not printed:
                        print(title)
                    _print_row(row, first=not printed)
                    printed += 1
        finally:
            if out and waiting:
                record_rows(out, waiting)
                recorded += len(waiting)
    for row in list(last.values())[printed:]:  # time was up before their last pass
        _print_row(row, first=not printed)
        printed += 1
    return list(last.values())


def _print_row(row: dict[str, Any], first: bool) -> None:
    if first:
        print(
            "   d   E   K routing  batch   first token   decode step (quartiles)  tokens/s   peak MB  experts touched"
        )
    step, low, high = (1e3 * row[name] for name in ("decode_step_seconds", "decode_step_low", "decode_step_high"))
    print(
        f"{row['d_model']:4} {row['n_experts']:3} {row['top_k']:3} {row['routing']:8} {row['batch']:5} "
        f"{1e3 * row['prefill_seconds']:10.2f} ms {step:8.3f} ms ({low:.3f}-{high:.3f})"
        f"{row['tokens_per_second']:10.0f} {row['peak_memory_bytes'] / 1e6:9.0f}  {row['experts_touched_by_layer']}",
        flush=True,
    )
    if row["clock"] == "wall" and row["device"] == "cpu" and row["processor_share"] < 0.8:
        tell(
            f"the process had the processor for {row['processor_share']:.0%} of that time: others were busy, "
            "the times are too long (--clock processor helps)"
        )
