"""What the pages of the neighbours say on the recorded tables, by the functions that their chapters call."""

from dataclasses import dataclass
from typing import Any

from howmany.neighbours import (
    adaptive_compute,
    cells,
    composition,
    compression,
    foretelling,
    leverage,
    superposition,
    upcycling,
)
from howmany.verdict import Judged
from moelaws.runs import read_runs
from moelaws.runs.probed import read_probes
from repository import ROOT

DATA = ROOT / "data"
CLAIMS = {name: str(DATA / "published" / f"{name}_claims.csv") for name in
          ("liew", "huang", "chen", "tian", "zhao", "chaliah", "alizadeh")}  # fmt: skip
_ISOFLOP, _GRANULARITY, _FINER = (str(DATA / "runs" / f"{name}.csv") for name in ("isoflop", "granularity", "finer"))


@dataclass(frozen=True)
class Page:
    """What a page says.

    Attributes:
        judged: its verdicts.
        numbers: glued, of name.
    """

    judged: list[Judged]
    numbers: dict[str, Any]


def pages(refits: int) -> dict[str, Page]:
    """Each page, with so many refits and one or two placebos."""
    return {
        "upcycling": _upcycling(),
        "compression": _compression(),
        "foretelling_scores": _foretelling(refits),
        "leverage": _leverage(refits),
        "composition": _composition(),
        "superposition": _superposition(),
        "adaptive_compute": _adaptive(),
    }


def _upcycling() -> Page:
    found = upcycling.sorted_arms(str(DATA / "runs/upcycling.csv"))
    made = upcycling.judged(found, CLAIMS["liew"])
    return Page(made, upcycling.numbers(found, made))


def _compression() -> Page:
    found = compression.recorded(*(str(DATA / f"neighbours/compression{part}.csv") for part in ("", "_experts")))
    made = compression.judged(found, CLAIMS["huang"])
    return Page(made, compression.numbers(found, made))


def _foretelling(refits: int) -> Page:
    probes = read_probes(DATA / "probes/isoflop.csv", read_runs(_ISOFLOP))
    found = foretelling.foretell(probes, refits, 0)
    made = foretelling.judged(found, probes, CLAIMS["chen"], 2, refits // 3)
    return Page(made, foretelling.numbers(found, made))


def _leverage(refits: int) -> Page:
    files = [_ISOFLOP, _GRANULARITY, _FINER]
    found = leverage.read(files, refits)
    made = leverage.judged(found, CLAIMS["tian"], leverage.placebos(leverage.runs_of(files), 1, refits))
    return Page(made, leverage.numbers(found, made))


def _composition() -> Page:
    shapes_file, study = str(DATA / "runs/shapes.csv"), [_ISOFLOP, _GRANULARITY]
    layers, shapes = cells.read_layers(str(DATA / "runs/composition.csv")), cells.read_shapes(shapes_file)
    said = composition.found(layers, shapes, study)
    blind = composition.placebos(layers, shapes, study, 2)
    made = composition.judged(said, [CLAIMS[name] for name in ("zhao", "tian", "liew")], blind)
    return Page(made, composition.numbers(layers, shapes, shapes_file, said, made))


def _superposition() -> Page:
    found = superposition.recorded(str(DATA / "neighbours/superposition.csv"))
    made = superposition.judged(found, CLAIMS["chaliah"])
    return Page(made, superposition.numbers(found, made))


def _adaptive() -> Page:
    found = adaptive_compute.recorded(*(str(DATA / f"neighbours/adaptive{part}.csv") for part in ("", "_places")))
    made = adaptive_compute.judged(found, CLAIMS["alizadeh"])
    return Page(made, adaptive_compute.numbers(found, made))
