"""Formulas as text, such as ``E + A/N^alpha + B/D^beta``: parsed into a tree, never evaluated as Python."""

import re
from collections.abc import Mapping
from typing import NoReturn

from moelaws.formulas.limits import LONGEST, check
from moelaws.formulas.nodes import FUNCTIONS, Binary, Call, FormulaError, Name, Negative, Node, Number, names, walk
from moelaws.quote import shown

__all__ = [
    "FUNCTIONS", "Binary", "Call", "FormulaError", "Name", "Negative", "Node", "Number", "names", "parse", "walk",
]  # fmt: skip

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<sign>\*\*|[-+*/^()]))"
)
_DEEPEST = 60
"""Brackets and powers inside one another."""
_SHOWN = 160
"""Characters of a formula that a message repeats."""


def parse(text: str, definitions: Mapping[str, str] | None = None) -> Node:
    """Read a formula.

    Args:
        text: numbers, names, ``+ - * / ^`` (or ``**``), brackets and ``FUNCTIONS``. A power binds before a sign and
            groups to the right, as on paper.
        definitions: name -> formula of a quantity that the text uses; a later one may use the earlier ones. All uses
            of a name share one subtree.

    Returns:
        The tree.

    Raises:
        FormulaError: what cannot be read, and at which character; or it is larger than any law (``limits``).
    """
    known: dict[str, Node] = {}
    for name, definition in (definitions or {}).items():
        known[name] = _read(definition, known)
    return _read(text, known)


def _read(text: str, known: Mapping[str, Node]) -> Node:
    if len(text) > LONGEST:
        raise FormulaError(f"formula {shown(text)}: {len(text)} characters; expected at most {LONGEST}")
    tree = _Reader(text, known).whole()
    check(tree, f"formula {shown(text, _SHOWN)}")
    return tree


class _Reader:
    """Recursive descent over the tokens of one formula."""

    def __init__(self, text: str, known: Mapping[str, Node]) -> None:
        self.text, self.known, self.depth = text, known, 0
        self.tokens: list[tuple[str, str, int]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                blank = len(text[position:]) - len(text[position:].lstrip())
                self.fail(f"{shown(text[position + blank])} has no meaning here", position + blank)
            kind = str(match.lastgroup)
            self.tokens.append((kind, match.group(kind).replace("**", "^"), match.start(kind)))
            position = match.end()
        self.next = 0

    def fail(self, what: str, position: int) -> NoReturn:
        # The stretch of a long one in which the reader has to look.
        first = max(0, min(position - _SHOWN // 2, len(self.text) - _SHOWN))
        cut = self.text if len(self.text) <= _SHOWN else f"...{self.text[first : first + _SHOWN]}..."
        raise FormulaError(f"formula {shown(cut, _SHOWN + 6)}: {what} (character {position + 1})")

    def peek(self) -> tuple[str, str, int]:
        return self.tokens[self.next] if self.next < len(self.tokens) else ("end", "", len(self.text))

    def take(self) -> tuple[str, str, int]:
        token = self.peek()
        self.next += 1
        return token

    def whole(self) -> Node:
        node = self.sum()
        kind, token, position = self.peek()
        if kind != "end":
            self.fail(f"{shown(token)} was not expected", position)
        return node

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.fail("nested too deeply", self.peek()[2])
        node = self.product()
        while self.peek()[1] in ("+", "-"):
            operator = self.take()[1]
            node = Binary(operator, node, self.product())
        self.depth -= 1
        return node

    def product(self) -> Node:
        node = self.signed()
        while self.peek()[1] in ("*", "/"):
            operator = self.take()[1]
            node = Binary(operator, node, self.signed())
        return node

    def signed(self) -> Node:
        negative = False
        while self.peek()[1] in ("+", "-"):
            negative ^= self.take()[1] == "-"
        node = self.power()
        return Negative(node) if negative else node

    def power(self) -> Node:
        base = self.atom()
        if self.peek()[1] != "^":
            return base
        self.depth += 1
        if self.depth > _DEEPEST:
            self.fail("nested too deeply", self.peek()[2])
        self.take()
        node = Binary("^", base, self.signed())
        self.depth -= 1
        return node

    def atom(self) -> Node:
        kind, token, position = self.take()
        if kind == "number":
            return Number(float(token))
        if kind == "name" and self.peek()[1] == "(":
            if token not in FUNCTIONS:
                self.fail(f"no function {shown(token)}; there are {', '.join(FUNCTIONS)}", position)
            return Call(token, self.bracket())
        if kind == "name":
            return self.known[token] if token in self.known else Name(token)
        if token == "(":
            self.next -= 1
            return self.bracket()
        self.fail(f"{shown(token)} was not expected" if token else "it ends too early", position)

    def bracket(self) -> Node:
        opened = self.take()[2]
        node = self.sum()
        if self.take()[1] != ")":
            self.fail("this bracket is not closed", opened)
        return node
