"""``moelaws measure --predict``: what a machine's constants foresee, without running anything."""

import argparse
from dataclasses import asdict
from pathlib import Path

from moelaws import __version__
from moelaws.cli.served.hardware_options import deployment_of, refuse, routing_of
from moelaws.cli.served.named_model import parse_config
from moelaws.document import check_json, write_json
from moelaws.exchange.model_count import count
from moelaws.json_file import JsonFileError, read_object
from moelaws.serving.cost import Deployment, Roofline, Traffic
from moelaws.serving.planning.model_plan import HARDWARE
from moelaws.serving.served import Served, served_config, served_count
from moelaws.serving.step_times import StepTime, predict_steps

_MEASURED = ("calibrate", "grid", "out", "passes", "repeats")
_OURS = "d_model"
"""A field of our own configurations, which no ``config.json`` has."""


def predict(options: argparse.Namespace) -> int:
    """Predict, a line a batch."""
    refuse(options, _MEASURED, "is for measuring, and --predict runs nothing")
    if not options.model:
        raise ValueError("--predict: name a model: a config.json, its folder, a published model's name, tiny:d=64,E=8")
    check_json(options.json, "prediction")
    name, model = served_of(options.model)
    where, calibrated = deployment_of(options, Traffic(options.prompt, options.new), HARDWARE, (options.gpus,))
    latency = where.latency
    assert isinstance(latency, Roofline)
    (gpus,) = where.gpus
    rows = predict_steps(
        model, latency.machines[gpus], options.batch, (options.prompt, options.new), where.precision,
        routing_of(options),
    )  # fmt: skip
    notes = _notes(model, where, rows)
    if options.json:
        document = {
            "model": name, "hardware": where.name, "gpus": gpus, "precision": asdict(where.precision),
            "rows": [asdict(row) for row in rows], "notes": notes, "versions": {"moelaws": __version__},
        }  # fmt: skip
        write_json(options.json, "prediction", document)
    lengths = f"prompts of {options.prompt}, {options.new} decode steps"
    print(f"{calibrated}{name}, foreseen on {gpus} x {where.name}; {lengths}")
    print("  batch   first token         step  tokens/s  experts touched  of the step, reading")
    for row in rows:
        print(
            f"{row.batch:7,}{1e3 * row.prefill_seconds:11.4g} ms{1e3 * row.decode_step_seconds:10.4g} ms"
            f"{row.tokens_per_second:10,.0f}{row.experts_touched:17.1f}"
            f"{row.reading_seconds / row.decode_step_seconds:22.0%}"
        )
    for note in notes:
        print(f"  note: {note}")
    return 0


def served_of(name: str) -> tuple[str, Served]:
    """A model as a reader names it, published or of ours, as a server sees it.

    Raises:
        ValueError: no such model.
    """
    if name.startswith("tiny:") or _is_ours(name):
        return name, served_config(parse_config(name))
    found = count(name)
    return found.name, served_count(found)


def _is_ours(name: str) -> bool:
    try:
        return Path(name).is_file() and _OURS in read_object(Path(name))
    except (JsonFileError, OSError, ValueError):
        return False


def _notes(model: Served, where: Deployment, rows: list[StepTime]) -> list[str]:
    weights = float(model.weight_bytes(where.precision))
    there = max(where.gpus) * where.memory_bytes
    largest = weights + max(row.cache_bytes for row in rows)
    if largest <= there:
        return []
    what = "the weights alone take" if weights > there else "weights and cache of the largest batch take"
    need = weights if weights > there else largest
    return [f"{what} {need / 1e9:,.4g} GB of the {there / 1e9:,.4g} GB there are"]
