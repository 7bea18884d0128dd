"""The text of a condition, such as ``sparsity > 0.9 and `val/loss` < 3``, as a tree; it is never run as Python."""

import ast
import keyword
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field

from moelaws.quote import shown

LONGEST = 2000
"""Characters of the longest condition."""

DEEPEST = 60
"""Levels of brackets, signs and sums that a condition may have inside one another."""

_WORDS = frozenset({"and", "or", "not", "in", "is", "True", "False", "None"})
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_BACKTICKS = re.compile(r"`((?:[^`]|``)+)`")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_PLACEHOLDER = re.compile(r"__column_(\d+)__")


class ConditionError(ValueError):
    """A condition that cannot be read; the message says which part."""


@dataclass(frozen=True)
class Condition:
    """A condition, parsed.

    Attributes:
        text: as it was written.
        tree: its expression; a name that Python would not read is a placeholder.
        names: placeholder -> column.
    """

    text: str
    tree: ast.expr
    names: dict[str, str] = field(default_factory=dict)

    def column(self, node: ast.Name) -> str:
        """The column that a name of the tree means."""
        return self.names.get(node.id, node.id)

    def error(self, what: str) -> ConditionError:
        """An error about this condition."""
        return ConditionError(f"condition {shown(self.text, 100)}: {what}")

    def part(self, node: ast.AST) -> str:
        """A part of the condition, as it was written or nearly so, for messages."""
        try:
            text = ast.unparse(node)
        except (RecursionError, ValueError):
            return "a part of it"
        return shown(_PLACEHOLDER.sub(lambda match: self.names.get(match[0], match[0]), text))


def parse_condition(text: str, columns: Iterable[str] = ()) -> Condition:
    """Read a condition.

    A name that is no Python identifier goes between backticks; without them it is found too, as long as it can mean
    nothing else.

    Args:
        text: comparisons joined by ``and``, ``or``, ``not``.
        columns: names that may occur.

    Returns:
        The condition.

    Raises:
        ConditionError: too long, nested too deeply, not an expression, or a name with two readings.
    """
    if len(text) > LONGEST:
        raise ConditionError(f"condition {shown(text, 40)}: {len(text):,} characters; expected at most {LONGEST:,}")
    if "__column_" in text or "\0" in text:
        raise ConditionError(f"condition {shown(text, 100)}: not readable")
    known = set(columns)
    plainly, names = _plain_names(text, known)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on expressions, such as `1 is 1`, is not for a table
            tree = ast.parse(plainly.strip(), mode="eval").body
    except SyntaxError as error:
        hint = "; a name with other signs than letters, digits and _ goes between backticks" if not names else ""
        if re.search(r"[^=<>!]=[^=<>]", text):
            hint = "; write == to compare"
        place = f" at character {error.offset}" if not names and error.offset else ""
        raise ConditionError(f"condition {shown(text, 100)}: not readable{place}{hint}") from None
    except (ValueError, MemoryError, RecursionError):
        raise ConditionError(f"condition {shown(text, 100)}: not readable, or nested too deeply") from None
    if _deeper(tree, DEEPEST):
        raise ConditionError(f"condition {shown(text, 100)}: nested too deeply; expected at most {DEEPEST} levels")
    return Condition(text, tree, names)


def _plain_names(text: str, columns: set[str]) -> tuple[str, dict[str, str]]:
    """The text with a placeholder for each name that Python would not read, and what the placeholders mean."""
    odd = sorted((name for name in columns if name in text and _is_odd(name)), key=len, reverse=True)
    pieces: list[str] = []
    names: dict[str, str] = {}
    at = 0
    while at < len(text):
        if quoted := _QUOTED.match(text, at):
            pieces.append(quoted[0])
            at = quoted.end()
        elif ticks := _BACKTICKS.match(text, at):
            pieces.append(_placeholder(ticks[1].replace("``", "`").strip(), names))
            at = ticks.end()
        elif found := next((name for name in odd if _stands_at(name, text, at)), None):
            _refuse_two_readings(found, columns, text)
            pieces.append(_placeholder(found, names))
            at += len(found)
        else:
            word = _IDENTIFIER.match(text, at)
            pieces.append(word[0] if word else " " if text[at].isspace() else text[at])
            at = word.end() if word else at + 1
    return "".join(pieces), names


def _is_odd(name: str) -> bool:
    # Python takes some letters for others (the micro sign for a mu), so only plain ones are left to it.
    if name.isidentifier() and name.isascii():
        return keyword.iskeyword(name) and name not in _WORDS
    return bool(re.search(r"[^\W\d]", name)) and not re.fullmatch(r"[\d.]+[eE][+-]?\d+", name)


def _stands_at(name: str, text: str, at: int) -> bool:
    end = at + len(name)
    before = at > 0 and re.match(r"\w", name) and re.match(r"[\w.]", text[at - 1])
    after = re.match(r"\w", name[-1]) and re.match(r"\w", text[end : end + 1])
    return text.startswith(name, at) and not before and not after


def _refuse_two_readings(name: str, columns: set[str], text: str) -> None:
    words = set(_IDENTIFIER.findall(name))
    if re.fullmatch(r"[\w\s+\-*/().]+", name) and re.search(r"[+\-*/]", name) and words <= columns:
        raise ConditionError(
            f"condition {shown(text, 100)}: {shown(name)} is a column, and its parts are columns too; write"
            f" {shown('`' + name + '`')} for the column, or spaces in other places for the arithmetic"
        )


def _placeholder(name: str, names: dict[str, str]) -> str:
    for placeholder, known in names.items():
        if known == name:
            return placeholder
    placeholder = f"__column_{len(names)}__"
    names[placeholder] = name
    return placeholder


def _deeper(tree: ast.AST, levels: int) -> bool:
    """Whether parts lie deeper inside one another; by a list, as recursion is what is to be bounded."""
    level: list[ast.AST] = [tree]
    for _ in range(levels):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return False
    return True
