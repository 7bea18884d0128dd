"""Presets: what is known of other people's layouts, read from ``presets.toml`` beside this file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

Columns = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Preset:
    """How one program lays out its runs.

    Attributes:
        name: what a reader calls it.
        about: what it reads, in words.
        reads: who reads it, ``table``, ``wandb``, ``trainer`` or ``tensorboard``.
        columns: the book's column -> the file's, in order of preference.
        patterns: the book's column -> regular expressions for a run's name and tags.
        config: a field of Hugging Face's ``config.json`` -> the columns that hold it.
        family: the ``model_type`` of dense models and of those with experts, where no column says it.
        finished: a column that says how far a run got, and the least that counts as finished.
    """

    name: str
    about: str
    reads: str
    columns: Columns = field(default_factory=dict)
    patterns: Columns = field(default_factory=dict)
    config: Columns = field(default_factory=dict)
    family: Mapping[str, str] = field(default_factory=dict)
    finished: tuple[str, float] | None = None


@dataclass(frozen=True)
class Wording:
    """What the words of a column's name must be.

    Attributes:
        of: lines of groups of words, in order of preference; a name has a word of each group of one line.
        beside: words that may stand beside those.
        but: where any other word may, such as a corpus' name, those that may not.
    """

    of: tuple[tuple[frozenset[str], ...], ...]
    beside: frozenset[str]
    but: frozenset[str] | None = None


@cache
def presets() -> dict[str, Preset]:
    """All presets, by name."""
    return {name: _preset(name) for name in _data()["presets"]}


@cache
def names() -> Columns:
    """Names that people give to columns, without case, signs and units; of the book's column, best first."""
    return _tuples(_data()["names"])


@cache
def letters() -> Columns:
    """Single letters that papers give to columns."""
    return _tuples(_data()["letters"])


@cache
def counted_names() -> Columns:
    """Words that mean such a column where a unit stands beside them."""
    return _tuples(_data()["counted"])


@cache
def wordings() -> Mapping[str, "Wording"]:
    """What the words of a name must be, of the book's column."""
    return {
        ours: Wording(
            of=tuple(tuple(frozenset(group) for group in line) for line in given["of"]),
            beside=frozenset(given["beside"]),
            but=frozenset(given["but"]) if "but" in given else None,
        )
        for ours, given in _data()["words"].items()
    }


@cache
def places() -> frozenset[str]:
    """Words that say where in a run's records a column lies."""
    return frozenset(_data()["places"]["words"])


@cache
def units() -> dict[str, float]:
    """Factors by the word for them, in lower case."""
    return dict(_data()["units"])


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files("moelaws.importing").joinpath("presets.toml").read_text(encoding="utf-8"))


def _preset(name: str) -> Preset:
    given = _data()["presets"][name]
    like = _data()["presets"].get(given.get("like"), {})
    finished = given.get("finished", like.get("finished"))
    return Preset(
        name=name,
        about=given["about"],
        reads=given["reads"],
        **{part: _tuples({**like.get(part, {}), **given.get(part, {})}) for part in ("columns", "patterns", "config")},
        family={**like.get("family", {}), **given.get("family", {})},
        finished=(finished["column"], float(finished["least"])) if finished else None,
    )


def _tuples(columns: Mapping[str, list[str]]) -> Columns:
    return {ours: tuple(theirs) for ours, theirs in columns.items()}
