"""A fit as plain values, and written to a file as JSON."""

import json
import platform
from pathlib import Path
from typing import Any, cast

import numpy as np

from moelaws import __version__
from moelaws.document import plain, write_json
from moelaws.fitting.intervals.prediction import joint_of
from moelaws.fitting.result import FitResult

KEPT_REFITS = 200
"""Refits that a file holds at most: enough for the ends of a 95 % band, in a file that can be read."""


def record_of(result: FitResult) -> dict[str, Any]:
    """Plain values for JSON, as ``data/fit.schema.json`` describes them; of refits, at most ``KEPT_REFITS``."""
    sure, origin, search, joint = result.uncertainty, result.origin, result.search, joint_of(result)
    record = {
        "law": result.law.name,
        "formula": result.law.formula,
        "objective": result.objective.name,
        "delta": result.objective.delta if result.objective.robust else None,
        "over": result.objective.over,
        "n_runs": result.n_runs,
        "status": result.status,
        "message": result.message,
        "params": dict(result.params),
        "fixed": sorted(origin.fixed),
        "intervals": {name: list(ends) for name, ends in result.intervals.items()},
        "interval_method": sure.method,
        "interval_level": sure.level,
        "interval_ends": {name: list(kinds) for name, kinds in sure.ends.items()},
        "identified": dict(sure.identified),
        "objective_value": search.objective_value,
        **{name: value for name, value in result.quality.to_dict().items() if name != "n"},
        "holdout": None if result.holdout is None else result.holdout.to_dict(),
        "starts": search.starts,
        "starts_at_optimum": search.starts_at_optimum,
        "seconds": search.seconds,
        "positive": [each.name for each in result.law.parameters if each.positive],
        "columns": dict(origin.columns),
        "derived": dict(origin.derived),
        "ranges": {name: list(ends) for name, ends in origin.ranges.items()},
        "versions": {"moelaws": __version__, "numpy": np.__version__, "python": platform.python_version()},
    }
    if result.law.definitions:
        record["definitions"] = dict(result.law.definitions)
    if result.law.target != "loss":
        record["target"] = result.law.target
    if origin.design:
        record["design"] = origin.design
    if origin.family:
        record["family"] = dict(origin.family)
    if joint is not None and np.isfinite(joint.matrix).all() and np.isfinite(joint.noise):
        record["covariance"] = {
            "parameters": list(joint.names),
            "matrix": joint.matrix.tolist(),
            "degrees": joint.degrees,
            "noise": joint.noise,
            "noise_degrees": joint.noise_degrees,
        }
    if sure.replicates:
        # Six digits: refits differ in the third, and their errors cancel only if each row stays what it was.
        record["replicates"] = {
            name: [float(f"{value:.6g}") for value in values[:KEPT_REFITS]] for name, values in sure.replicates.items()
        }
    return cast(dict[str, Any], plain(record))


def text_of(result: FitResult) -> str:
    """The fit as JSON, with intervals."""
    return json.dumps({"kind": "moelaws fit"} | record_of(_whole(result)), indent=2, allow_nan=False) + "\n"


def write_fit(path: Path, result: FitResult) -> None:
    """Write a fit, see ``FitResult.to_json``."""
    write_json(path, "fit", record_of(_whole(result)))


def _whole(result: FitResult) -> FitResult:
    return result if result.solution is None else result.with_intervals(result.uncertainty.level)
