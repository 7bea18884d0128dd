"""The parts that a formula is made of, as a tree; parts may be shared."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FUNCTIONS = ("exp", "ln", "log2", "log10", "sqrt")
"""Functions a formula may use. ``log`` is not among them: papers mean three different things by it."""


class FormulaError(ValueError):
    """A formula that cannot be read; the message says where."""


@dataclass(frozen=True, eq=False)
class Number:
    """A constant: a number in the text, or an array once the data are known."""

    value: Any


@dataclass(frozen=True, eq=False)
class Name:
    """A parameter or a variable."""

    id: str


@dataclass(frozen=True, eq=False)
class Negative:
    """Minus a part."""

    part: "Node"


@dataclass(frozen=True, eq=False)
class Binary:
    """Two parts joined by ``+ - * / ^``."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, eq=False)
class Call:
    """One of ``FUNCTIONS`` of a part."""

    function: str
    part: "Node"


Node = Number | Name | Negative | Binary | Call


def names(node: Node) -> list[str]:
    """Names in a tree, in order of first appearance."""
    found: dict[str, None] = {}
    for part in walk(node):
        if isinstance(part, Name):
            found[part.id] = None
    return list(found)


def walk(node: Node) -> Iterator[Node]:
    """Every part of a tree; a shared part once for each use."""
    yield node
    match node:
        case Negative(part) | Call(_, part):
            yield from walk(part)
        case Binary(_, left, right):
            yield from walk(left)
            yield from walk(right)
