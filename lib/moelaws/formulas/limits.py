"""How large a formula may be, and that its constants are numbers: beyond every law, below what a machine bears."""

import math
import operator

from moelaws.formulas.nodes import Binary, Call, FormulaError, Negative, Node, Number

LONGEST = 2_000
"""Characters of one formula."""
MOST_LEVELS = 200
"""Parts within parts: a sum of 200 terms, too, has so many."""
LARGEST_POWER = 100.0
"""Of a power that is a number."""

_OPERATORS = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "^": math.pow,
}  # fmt: skip
_FUNCTIONS = {"exp": math.exp, "ln": math.log, "log2": math.log2, "log10": math.log10, "sqrt": math.sqrt}


def check(tree: Node, formula: str) -> None:
    """Refuse a tree that nothing should be made to compute.

    Args:
        tree: a parsed formula.
        formula: how messages call it.

    Raises:
        FormulaError: too many parts within parts, a part without names that is no finite number, or a power beyond
            the largest.
    """
    levels: dict[int, int] = {}
    constants: dict[int, float | None] = {}
    # Parts before what they are parts of, without recursion: that is what is being limited.
    for node in _from_leaves(tree):
        below = _parts(node)
        levels[id(node)] = 1 + max((levels[id(part)] for part in below), default=0)
        if levels[id(node)] > MOST_LEVELS:
            raise FormulaError(f"{formula}: more than {MOST_LEVELS} parts within parts")
        constants[id(node)] = _constant(node, [constants[id(part)] for part in below], formula)


def _from_leaves(tree: Node) -> list[Node]:
    found: dict[int, Node] = {}
    waiting: list[tuple[Node, bool]] = [(tree, False)]
    while waiting:
        node, done = waiting.pop()
        if done:
            found[id(node)] = node
        elif id(node) not in found:
            waiting.append((node, True))
            waiting += [(part, False) for part in _parts(node)]
    return list(found.values())


def _parts(node: Node) -> tuple[Node, ...]:
    match node:
        case Negative(part) | Call(_, part):
            return (part,)
        case Binary(_, left, right):
            return left, right
    return ()


def _constant(node: Node, parts: list[float | None], formula: str) -> float | None:
    """The value of a part without names; ``None`` for a part with one."""
    if isinstance(node, Binary) and node.operator == "^" and parts[1] is not None and abs(parts[1]) > LARGEST_POWER:
        raise FormulaError(f"{formula}: the power {parts[1]:g} is out of range; expected at most {LARGEST_POWER:g}")
    known = [part for part in parts if part is not None]
    if isinstance(node, Number):
        value = float(node.value)
    elif not parts or len(known) < len(parts):
        return None
    else:
        value = _value(node, known)
    if not math.isfinite(value):
        raise FormulaError(f"{formula}: a part without names is no finite number")
    return value


def _value(node: Node, parts: list[float]) -> float:
    try:
        match node:
            case Negative():
                return -parts[0]
            case Call(function, _):
                return _FUNCTIONS[function](parts[0])
            case Binary(sign, _, _):
                return float(_OPERATORS[sign](*parts))
    except (ArithmeticError, ValueError):
        pass
    return math.nan
