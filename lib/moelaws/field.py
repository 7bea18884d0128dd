"""One field of a configuration, described once.

Columns of tables, a run's identity, what an old row says, checkpoints and timings all follow from the description.
A class whose field lacks a part of it is refused when it is defined.
"""

import dataclasses
import inspect
import math
from dataclasses import asdict, dataclass
from enum import Enum
from functools import cache
from typing import Any, ClassVar, Self

from moelaws.quote import listed, shown

_KEY = "moelaws"  # of the description in a dataclass field's metadata


class ConfigError(ValueError):
    """A field of a configuration has a value that no model or run can have."""


class Absent(Enum):
    """What stands in the place of a value that cannot be guessed."""

    NEEDED = "needed"


NEEDED = Absent.NEEDED


@dataclass(frozen=True)
class Place:
    """Where a field of a model stands in a checkpoint's ``config.json``.

    Attributes:
        key: in the OLMoE layout, with a point between levels; below ``moelaws`` where the layout has no such field;
            empty for no place at all: then only a model with the value ``absent`` can be saved.
        absent: what a file without the key says; ``NEEDED`` where it is refused.
        foreign: whether a model with another value than ``absent`` computes what no OLMoE model does. It is saved
            under our own ``model_type``, so that nobody else's program opens it as an OLMoE model.
    """

    key: str
    absent: Any = NEEDED
    foreign: bool = False


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        name: in the configuration, and of its column.
        default: of the configuration; its type is the field's.
        meaning: one sentence, the column's.
        unit: of the number; empty for text and pure counts, 1 for shares.
        least, most, exclusive: bounds of a number, and whether the lower one is excluded.
        choices: the words that a text may be; empty for any.
        loose: whether its column takes any number > 0, since a reader's table may hold rounded or averaged values.
        absent: what a table without the column says of its rows; ``NEEDED`` where it says too little.
        later: whether the field came after the first recorded tables. At the value ``absent`` it is then no part of
            a run's identity: runs recorded without it keep their ids, and their rows run again.
        place: in a checkpoint; ``None`` for what is no part of a model.
    """

    name: str
    default: Any
    meaning: str
    unit: str
    least: float
    most: float
    exclusive: bool
    choices: tuple[str, ...]
    loose: bool
    absent: Any
    later: bool
    place: Place | None

    @property
    def kind(self) -> type:
        """``bool``, ``int``, ``float`` or ``str``."""
        return type(self.default)

    def check(self, value: object) -> None:
        """Refuse a value that the field cannot have.

        Raises:
            ConfigError: the message names the field, what was found and what was expected.
        """
        if self.kind is bool:
            require(isinstance(value, bool), self.name, value, "true or false")
        elif self.kind is str:
            fits = isinstance(value, str) and (not self.choices or value in self.choices)
            require(fits, self.name, value, " or ".join(map(repr, self.choices)) or "text")
        elif self.kind is int:
            fits = type(value) is int and value >= self.least
            require(fits, self.name, value, f"a whole number >= {self.least:g}")
            require(isinstance(value, int) and value <= self.most, self.name, value, f"at most {self.most}")
        else:
            self._check_number(value)

    def _check_number(self, value: object) -> None:
        above = f"a number {'>' if self.exclusive else '>='} {self.least:g}"
        expected = above if self.most == math.inf else f"a number from {self.least:g} to {self.most:g}"
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if fits and isinstance(value, int | float):
            fits = (value > self.least if self.exclusive else value >= self.least) and value <= self.most
        require(fits, self.name, value, expected)


def original(
    default: Any, meaning: str, unit: str = "", *, least: float = 0, most: float | None = None,
    exclusive: bool = False, choices: tuple[str, ...] = (), loose: bool = False, absent: Any = NEEDED,
    place: Place | None = None,
) -> Any:  # fmt: skip
    """A field that the first recorded tables have; always a part of a run's identity. See ``Field``."""
    return _described(
        Field("", default, meaning, unit, least, _most(default, most), exclusive, choices, loose, absent, False, place)
    )


def added(
    default: Any, meaning: str, unit: str = "", *, before: Any, least: float = 0, most: float | None = None,
    exclusive: bool = False, choices: tuple[str, ...] = (), place: Place | None = None,
) -> Any:  # fmt: skip
    """A field that came later: ``before`` is its value in all runs that were recorded without it. See ``Field``."""
    return _described(
        Field("", default, meaning, unit, least, _most(default, most), exclusive, choices, False, before, True, place)
    )


def _most(default: Any, most: float | None) -> float:
    return most if most is not None else 10**9 if type(default) is int else math.inf


def _described(field: Field) -> Any:
    return dataclasses.field(default=field.default, metadata={_KEY: field})


def require(condition: bool, field: str, value: object, expected: str) -> None:
    """Refuse a value of a field.

    Raises:
        ConfigError: unless the condition holds.
    """
    if not condition:
        raise ConfigError(f"{field} = {shown(value)}: expected {expected}")


class Described:
    """A frozen configuration whose fields are described, all but those that are configurations themselves."""

    has_places: ClassVar[bool] = False
    """Whether its fields stand in checkpoints."""

    def __init_subclass__(cls) -> None:
        for name in inspect.get_annotations(cls):
            found = cls.__dict__.get(name)
            if name == "has_places" or isinstance(found, Described):
                continue
            field = found.metadata.get(_KEY) if isinstance(found, dataclasses.Field) else None
            if field is None:
                raise TypeError(
                    f"{cls.__name__}.{name}: not described; expected a default made by original() or added()"
                )
            if cls.has_places and field.place is None:
                raise TypeError(f"{cls.__name__}.{name}: no place in a checkpoint; expected place=Place(...)")
            if not field.meaning:
                raise TypeError(f"{cls.__name__}.{name}: no meaning; expected one sentence for its column")
            if field.later and field.absent != field.default and type(field.absent) is not field.kind:
                raise TypeError(f"{cls.__name__}.{name}: before = {field.absent!r}, expected a {field.kind.__name__}")


def described(kind: type[Described] | Described) -> tuple[Field, ...]:
    """The described fields of a configuration, or of its class, in order."""
    cls: Any = kind if isinstance(kind, type) else type(kind)  # a class is hashable, which mypy does not see
    return _of_class(cls)


@cache
def _of_class(kind: type[Any]) -> tuple[Field, ...]:
    """The same of a class: each configuration is checked by it, and a search makes thousands."""
    found = dataclasses.fields(kind)
    return tuple(dataclasses.replace(f.metadata[_KEY], name=f.name) for f in found if _KEY in f.metadata)


def identity(config: Described) -> dict[str, Any]:
    """What a configuration adds to a run's identity: every described field, but for later ones at their old value."""
    values = {field.name: (field, getattr(config, field.name)) for field in described(config)}
    return {name: value for name, (field, value) in values.items() if not (field.later and value == field.absent)}


class Record(Described):
    """A configuration of plain values: checked one by one, and a dictionary and back."""

    def __post_init__(self) -> None:
        for field in described(self):
            value = getattr(self, field.name)
            field.check(value)
            if field.kind is float:
                # 0 and 0.0 are one value, and must be one run: a table gives the second back for the first.
                object.__setattr__(self, field.name, float(value))

    def to_dict(self) -> dict[str, Any]:
        """Field -> value."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from a mapping; an unknown field is refused by name."""
        known = {field.name for field in described(cls)}
        if unknown := sorted(set(values) - known):
            there = listed(sorted(known), unknown[0], 20)
            raise ConfigError(f"{cls.__name__} has no field {shown(unknown[0])}; its fields are {there}")
        return cls(**values)
