"""Conditions on rows, such as ``sparsity > 0.9 and corpus == 'sotu'``: parsed, never evaluated as Python."""

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd


class ConditionError(ValueError):
    """A condition that cannot be read; the message says which part."""


_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


def rows_where(runs: pd.DataFrame, condition: str) -> pd.Series:
    """Which rows meet a condition.

    Args:
        runs: a table.
        condition: comparisons of columns, numbers and quoted text, joined by ``and``, ``or``, ``not``, ``in``,
            with ``+ - * /`` and brackets.

    Returns:
        One truth value a row.

    Raises:
        ConditionError: not such an expression, an unknown column, or text compared with a number by order.
    """
    try:
        tree = ast.parse(condition.strip(), mode="eval")
    except SyntaxError as error:
        raise ConditionError(f"condition {condition!r}: not readable at character {error.offset}") from None
    try:
        mask = _read(tree.body, runs, condition)
    except TypeError:
        raise ConditionError(f"condition {condition!r}: compares text with a number") from None
    if isinstance(mask, bool | np.bool_):
        return pd.Series(bool(mask), index=runs.index)
    if not isinstance(mask, pd.Series) or mask.dtype != bool:
        raise ConditionError(f"condition {condition!r}: gives no yes or no for a row; write a comparison")
    return mask


def _read(node: ast.expr, runs: pd.DataFrame, condition: str) -> Any:
    def read(part: ast.expr) -> Any:
        return _read(part, runs, condition)

    match node:
        case ast.BoolOp(op=op, values=values):
            combine = operator.and_ if isinstance(op, ast.And) else operator.or_
            result = read(values[0])
            for value in values[1:]:
                result = combine(result, read(value))
            return result
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~read(operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -read(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](read(left), read(right))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _compare(read(left), ops, [read(c) for c in comparators], condition)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [read(item) for item in items]
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=name):
            if name not in runs.columns:
                raise ConditionError(f"condition {condition!r}: the table has no column {name!r}")
            return runs[name]
    raise ConditionError(f"condition {condition!r}: {ast.unparse(node)!r} is not allowed in a condition")


def _compare(left: Any, ops: list[ast.cmpop], rights: list[Any], condition: str) -> Any:
    result: Any = None
    for op, right in zip(ops, rights, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(left, pd.Series) or not isinstance(right, list):
                raise ConditionError(f"condition {condition!r}: write COLUMN in [value, value]")
            step = left.isin(right) if isinstance(op, ast.In) else ~left.isin(right)
        elif type(op) in _COMPARE:
            step = _COMPARE[type(op)](left, right)
        else:
            raise ConditionError(f"condition {condition!r}: comparison {type(op).__name__} is not allowed")
        result = step if result is None else result & step
        left = right
    return result
