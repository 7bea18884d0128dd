"""The laws as the page's scripts know them: written out of ``moelaws.laws``, never typed twice."""

from typing import Any

from moelaws.importing.preset import counted_names, letters, names, places, units, wordings
from moelaws.importing.unit import OWN_WORDS
from moelaws.laws import LAWS
from moelaws.laws.forms import Law
from moelaws.optimum.known_coefficients import PUBLISHED
from moelaws.runs.derive import SPEAKS_OF_EXPERTS
from moelaws.runs.numbers import NOTHING
from moelaws.runs.reading.agreement import (
    FEWEST_PARAMETERS,
    FEWEST_TOKENS,
    FLOPS_FACTOR,
    TOKENS_PER_PARAMETER,
    TOLERANCE,
)
from moelaws.runs.reading.source import COMPRESSED, COMPRESSED_NAMES, OTHER_FORMATS
from moelaws.runs.reading.status import DID_NOT, ENDED_WELL, OTHER_NAMES
from moelaws.runs.schema import COLUMNS


def written_laws() -> list[dict[str, Any]]:
    """Every law as plain values: what its formula is, what is fitted from where, and what papers print of it."""
    return [written(each) for each in LAWS.values()]


def written(law: Law) -> dict[str, Any]:
    """One law as plain values.

    Arguments:
        law: the law.

    Returns:
        Its formula and definitions as text, which ``engine/formula.js`` reads as ``moelaws.formulas`` does; variables
        with their columns, parameters with ranges and bounds, published coefficients; ``family``, the kind of models
        that its published coefficients plan with, where it can.
    """
    plan = PUBLISHED.get(law.name)
    return {
        "name": law.name,
        "formula": law.formula,
        "definitions": dict(law.definitions),
        "target": law.target,
        "source": law.source,
        "conventions": law.conventions,
        "variables": [{"symbol": v.symbol, "columns": list(v.columns), "meaning": v.meaning} for v in law.variables],
        "parameters": [
            {
                "name": p.name,
                "positive": p.positive,
                "start": list(p.start),
                "bounds": list(p.bounds),
                "meaning": p.meaning,
            }
            for p in law.parameters
        ],
        "published": [
            {"name": name, "values": dict(each), "source": each.source, "note": each.note}
            for name, each in law.published.items()
        ],
        "family": plan[1] if plan else "",
    }


def written_columns() -> dict[str, dict[str, Any]]:
    """What the columns that laws are fitted to may hold, as ``moelaws.runs`` checks it: bounds, and these in words."""
    return {
        name: {
            "minimum": column.minimum,
            "exclusive": column.exclusive,
            "below": column.below,
            "whole": column.kind == "integer",
            "expected": column.expected,
        }
        for name, column in COLUMNS.items()
        if column.kind != "text"
    }


def written_status() -> dict[str, list[str]]:
    """Words for runs that ended well, and for those that did not."""
    return {"endedWell": sorted(ENDED_WELL), "didNot": sorted(DID_NOT)}


def written_names() -> dict[str, Any]:
    """What is known of the names that people give to columns, as the commands go by it."""
    wording = {
        ours: {
            "of": [[sorted(group) for group in line] for line in each.of],
            "beside": sorted(each.beside),
            "but": None if each.but is None else sorted(each.but),
        }
        for ours, each in wordings().items()
    }
    return {
        "NAMES": names(),
        "LETTERS": letters(),
        "COUNTED_NAMES": counted_names(),
        "WORDINGS": wording,
        "PLACES": sorted(places()),
        "UNITS": units(),
        "OWN_WORDS": sorted(OWN_WORDS),
        "NOTHING": sorted(NOTHING),
    }


def written_reading() -> dict[str, Any]:
    """What is known of files and tables: how others than CSV begin, what is doubted, and in which words it is said."""
    return {
        "FORMATS": {start.decode("latin1"): what for start, what in OTHER_FORMATS.items()},
        "COMPRESSED": {start.decode("latin1"): kind for start, kind in COMPRESSED.items()},
        "PACKED_NAMES": COMPRESSED_NAMES,
        "DOUBTED": {
            "parameters": FEWEST_PARAMETERS,
            "tokens": FEWEST_TOKENS,
            "ratio": TOKENS_PER_PARAMETER,
            "flops": FLOPS_FACTOR,
            "gap": TOLERANCE,
        },
        "SPEAKS_OF_EXPERTS": SPEAKS_OF_EXPERTS.pattern,
        "STATUS_NAMES": sorted(OTHER_NAMES),
    }
