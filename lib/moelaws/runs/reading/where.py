"""Rows that meet a condition, such as ``sparsity > 0.9 and corpus == 'sotu'``."""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from moelaws.quote import listed, shown
from moelaws.runs.derive import derivable
from moelaws.runs.numbers import all_numbers, as_numbers, is_nothing, truth
from moelaws.runs.reading.condition import Condition, ConditionError, parse_condition
from moelaws.runs.reading.status import FINISHED

__all__ = ["ConditionError", "rows_where"]

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_LARGEST = 2**63


def rows_where(runs: pd.DataFrame, condition: str, aliases: Mapping[str, str] | None = None) -> pd.Series:
    """Which rows meet a condition.

    An empty cell meets no comparison but ``!=``.

    Args:
        runs: a table, of numbers and text or of the cells of a file.
        condition: comparisons of columns, numbers and quoted text, joined by ``and``, ``or``, ``not``, ``in``,
            with ``+ - * /`` and brackets. Columns that others determine may be named too.
        aliases: other names of columns -> their names in the table.

    Returns:
        One truth value a row.

    Raises:
        ConditionError: not such an expression, an unknown column, or text compared with a number.
    """
    aliases = {theirs: ours for theirs, ours in (aliases or {}).items() if theirs not in runs.columns}
    parsed = parse_condition(condition, [*map(str, runs.columns), *aliases])
    with np.errstate(all="ignore"):
        mask = _Rows(runs, parsed, aliases).read(parsed.tree)
    if isinstance(mask, bool):
        mask = np.full(len(runs), mask)
    if not _is_mask(mask):
        raise parsed.error("gives no yes or no for a row; write a comparison")
    return pd.Series(mask, index=runs.index)


@dataclass(frozen=True)
class _Column:
    """A column, before it is known whether it is asked as numbers or as text."""

    name: str
    cells: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class _Rows:
    """The rows of a table, to be asked. What parts give: a column, numbers, a number, text, a list, or a mask."""

    runs: pd.DataFrame
    condition: Condition
    aliases: Mapping[str, str]

    def read(self, node: ast.expr) -> Any:
        match node:
            case ast.BoolOp(op=op, values=values):
                combine = operator.and_ if isinstance(op, ast.And) else operator.or_
                result = self.mask(values[0])
                for value in values[1:]:
                    result = combine(result, self.mask(value))
                return result
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                asked = self.mask(operand)
                return not asked if isinstance(asked, bool) else ~asked
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.number(self.read(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.number(self.read(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return _ARITHMETIC[type(op)](self.number(self.read(left)), self.number(self.read(right)))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self.compared(left, ops, comparators)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self.read(item) for item in items]
            case ast.Constant(value=bool() | str() as value):
                return value
            case ast.Constant(value=int() | float() as value) if abs(value) < _LARGEST or isinstance(value, float):
                return np.float64(value)
            case ast.Name():
                return self.column(self.condition.column(node))
        raise self.condition.error(f"{self.condition.part(node)} is not allowed in a condition")

    def column(self, name: str) -> _Column:
        name = self.aliases.get(name, name)
        if name in self.runs.columns:
            return _Column(name, self.runs[name].to_numpy())
        if name == "status":
            # A table that does not say otherwise holds finished runs.
            return _Column(name, np.full(len(self.runs), FINISHED, dtype=object))
        derived = derivable(self.runs, name)
        if derived is None:
            raise self.condition.error(
                f"the table has no column {shown(name)}; it has {listed(self.runs.columns, name, 6)}"
            )
        return _Column(name, derived)

    def mask(self, node: ast.expr) -> Any:
        value = self.read(node)
        if isinstance(value, bool) or _is_mask(value):
            return value
        raise self.condition.error(f"{self.condition.part(node)} gives no yes or no for a row; write a comparison")

    def number(self, value: Any) -> Any:
        if isinstance(value, _Column):
            numbers = as_numbers(value.cells)
            bad = np.isnan(numbers) & ~is_nothing(value.cells)
            if bad.any():
                at = int(np.flatnonzero(bad)[0])
                raise self.condition.error(
                    f"compares text with a number: column {shown(value.name)} holds {shown(value.cells[at])} in row"
                    f" {self.runs.index[at]}"
                )
            return numbers
        if isinstance(value, str):
            raise self.condition.error(f"compares text with a number, or counts with it: {shown(value)}")
        if isinstance(value, bool | list) or _is_mask(value):
            raise self.condition.error("counts with what is no number")
        return value

    def compared(self, left: ast.expr, ops: list[ast.cmpop], rights: list[ast.expr]) -> Any:
        result: Any = True
        value = self.read(left)
        for op, node in zip(ops, rights, strict=True):
            other = self.read(node)
            if isinstance(op, ast.In | ast.NotIn):
                if not isinstance(value, _Column) or not isinstance(other, list):
                    raise self.condition.error("write COLUMN in [value, value]")
                step: Any = np.zeros(len(self.runs), dtype=bool)
                for item in other:
                    step = step | self.pair(value, operator.eq, item)
                step = ~step if isinstance(op, ast.NotIn) else step
            elif type(op) in _COMPARE:
                step = self.pair(value, _COMPARE[type(op)], other)
            else:
                raise self.condition.error("'is' is not allowed in a condition; write ==")
            result = step if result is True else result & step
            value = other
        return result

    def pair(self, left: Any, compare: Callable[[Any, Any], Any], right: Any) -> Any:
        for one, other in ((left, right), (right, left)):
            if isinstance(one, list):
                raise self.condition.error("a list stands only behind 'in'")
            if isinstance(one, bool) and not (isinstance(other, bool) or _is_mask(other)):
                left, right = self.truths(left), self.truths(right)
                break
            if isinstance(one, str) and isinstance(other, _Column) and other.cells.dtype.kind in "iuf" and one:
                left, right = (self.spelt(each, other.name) for each in (left, right))
            elif isinstance(one, str) or (isinstance(one, _Column) and self.both_text(one, other)):
                left, right = self.text(left), self.text(right)
                break
        else:
            if not (_is_mask(left) or _is_mask(right)):
                left, right = self.number(left), self.number(right)
        step = compare(left, right)
        return bool(step) if np.ndim(step) == 0 else np.asarray(step, dtype=bool)

    def spelt(self, value: Any, name: str) -> Any:
        """A number written as text, beside a column of numbers."""
        try:
            return np.float64(value) if isinstance(value, str) else value
        except ValueError:
            raise self.condition.error(f"compares text with a number: column {shown(name)} holds numbers") from None

    def both_text(self, one: _Column, other: Any) -> bool:
        return isinstance(other, _Column) and (all_numbers(one.cells) is None or all_numbers(other.cells) is None)

    def text(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        if not isinstance(value, _Column):
            raise self.condition.error("compares text with a number")
        # Spelt alike in a file and in a table of numbers: an empty cell is no text.
        empty = np.asarray(pd.isna(value.cells))
        return np.array(["" if e else str(c) for c, e in zip(value.cells, empty, strict=True)], dtype=object)

    def truths(self, value: Any) -> Any:
        if not isinstance(value, _Column):
            if isinstance(value, bool):
                return value
            raise self.condition.error("compares true or false with a number or text")
        try:
            empty = is_nothing(value.cells)
            return np.array([None if e else truth(c) for c, e in zip(value.cells, empty, strict=True)], dtype=object)
        except ValueError as error:
            raise self.condition.error(f"column {shown(value.name)}: {error}") from None


def _is_mask(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == bool
