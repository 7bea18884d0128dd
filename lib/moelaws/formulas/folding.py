"""A formula bound to data: parts without parameters become arrays, once for all evaluations."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from moelaws.formulas.duals import evaluate
from moelaws.formulas.evaluate import Array
from moelaws.formulas.parsing import Binary, Call, Name, Negative, Node, Number


def fold(node: Node, data: Mapping[str, Array], memo: dict[int, Node] | None = None) -> Node:
    """Replace every part that holds no parameter by its value on the data.

    Args:
        node: a formula's tree.
        data: variable -> values.
        memo: parts done already; shared parts stay shared.

    Returns:
        A tree of parameters and constants.
    """
    memo = {} if memo is None else memo
    if id(node) in memo:
        return memo[id(node)]
    match node:
        case Name(name) if name in data:
            new: Node = Number(np.asarray(data[name], dtype=float))
        case Negative(part):
            inner = fold(part, data, memo)
            new = Number(-inner.value) if isinstance(inner, Number) else Negative(inner)
        case Call(function, part):
            inner = fold(part, data, memo)
            new = Call(function, inner)
            if isinstance(inner, Number):
                new = Number(evaluate(new, {}).value)
        case Binary(operator, left, right):
            a, b = fold(left, data, memo), fold(right, data, memo)
            new = Binary(operator, a, b)
            if isinstance(a, Number) and isinstance(b, Number):
                new = Number(evaluate(new, {}).value)
        case _:
            new = node
    memo[id(node)] = new
    return new


def cut(node: Node, length: int, part: Any, memo: dict[int, Node] | None = None) -> Node:
    """A folded tree over some of the runs only.

    Args:
        node: a folded tree.
        length: runs it holds.
        part: which of them to keep, a slice or indices.
        memo: parts done already; shared parts stay shared.

    Returns:
        The tree over these runs.
    """
    memo = {} if memo is None else memo
    if id(node) not in memo:
        match node:
            case Number(value) if np.ndim(value) and np.shape(value)[-1] == length:
                new: Node = Number(value[..., part])
            case Negative(inner):
                new = Negative(cut(inner, length, part, memo))
            case Call(function, inner):
                new = Call(function, cut(inner, length, part, memo))
            case Binary(operator, left, right):
                new = Binary(operator, cut(left, length, part, memo), cut(right, length, part, memo))
            case _:
                new = node
        memo[id(node)] = new
    return memo[id(node)]
