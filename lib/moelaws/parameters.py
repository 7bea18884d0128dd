"""Values for a chapter's parameters cell that come from outside: unknown names are refused, texts become values.

    papermill --cwd chapters chapters/laws_side_by_side.ipynb out.ipynb -p memory_gb 40 -p choices "[1, 2, 4]"

papermill puts a cell of assignments behind the parameters cell, of whatever names it was given, and knows no lists
after ``-p``. The chapter's next cell has them checked here. In a notebook that nobody parameterised nothing happens.
"""

import ast
from collections.abc import Mapping
from typing import Any

from moelaws.quote import listed, shown

_INJECTED = "# Parameters\n"  # how papermill's cell begins


class ParameterError(ValueError):
    """A value for a parameter that the chapter does not have, or of another kind than its own."""


def check_parameters(namespace: dict[str, Any]) -> None:
    """Check the values that papermill has set, and read texts as what the parameter is: a list, or a number.

    Args:
        namespace: the notebook's own, ``globals()``; what was given as text is changed there.

    Raises:
        ParameterError: the parameters cell has no such name, or a value of another kind.

    Examples:
        >>> check_parameters({"bootstrap": 40})  # in a chapter: check_parameters(globals())
    """
    cells = [str(cell) for cell in namespace.get("In", ())]
    places = [number for number, cell in enumerate(cells) if cell.startswith(_INJECTED)]
    if not places:
        return
    defaults = assigned(cells[places[-1] - 1])
    for name in assigned(cells[places[-1]]):
        if name not in defaults:
            raise ParameterError(
                f"{shown(name)}: the parameters cell of this chapter has no such name; it has "
                f"{listed(sorted(defaults), name, most=20)}"
            )
        try:
            namespace[name] = matched(name, namespace[name], defaults[name])
        except ParameterError as error:
            raise ParameterError(f"cannot set {error}") from None


def assigned(source: str) -> dict[str, Any]:
    """The names that a cell assigns to at its outermost level, and their values where they are literals, else None.

    Raises:
        SyntaxError: the cell is not Python.
    """
    found: dict[str, Any] = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name):
                found[target.id] = _literal(value)
    return found


def matched(name: str, value: Any, default: Any) -> Any:
    """A value in the type of the default that it replaces.

    Numbers may come as text: YAML reads ``2e9`` as text, and people mean a number. So may lists, as ``[1, 2, 4]``.

    Args:
        name: of the parameter, for the message.
        value: what was given.
        default: of the parameters cell; where it is None, a text that is a literal is read as one.

    Raises:
        ParameterError: the value is of another kind than the default; the sentence begins with the name.
    """
    if default is None:
        return _read(value)
    if isinstance(default, list | tuple):
        return _list(name, value, default)
    if isinstance(default, Mapping):
        return _of_kind(name, _read(value), default, "names and values in braces", Mapping)
    if isinstance(default, bool):
        return _of_kind(name, _read(value), default, "True or False", bool)
    if isinstance(default, int | float):
        number = _of_kind(name, _number(value), default, "a number", int | float)
        return int(number) if isinstance(default, int) and float(number).is_integer() else number
    if isinstance(default, str):
        # papermill takes a name made of digits for a number.
        return _of_kind(name, str(value) if type(value) is int else value, default, "text", str)
    return value


def _list(name: str, value: Any, default: list[Any] | tuple[Any, ...]) -> list[Any]:
    items = _of_kind(name, _items(value), default, 'a list, as in "[1, 2]"', list | tuple)
    return [matched(name, item, default[0]) for item in items] if default else list(items)


def _items(value: Any) -> Any:
    """A list from the text of one: Python's, or words between brackets."""
    found = _read(value)
    if isinstance(found, str) and found.strip()[:1] == "[" and found.strip()[-1:] == "]":
        return [word.strip() for word in found.strip()[1:-1].split(",")]
    return found


def _number(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _of_kind(name: str, value: Any, default: Any, expected: str, kind: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ParameterError(
            f"{shown(name)} to {shown(value)}; expected {expected}, like its own value {shown(default)}"
        )
    return value


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
