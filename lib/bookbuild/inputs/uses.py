"""What a piece of Python uses: dotted names of modules and of what it takes from them, and texts that may be paths."""

import ast
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

WHOLE = "*"
"""Last part of a dotted name where all that the module has may be used."""


@dataclass(frozen=True)
class Uses:
    """What a piece of code names.

    Arguments:
        names: dotted names, such as `moelaws.fit` for `import moelaws as ml; ml.fit`.
        texts: its string constants, docstrings left out.
    """

    names: frozenset[str]
    texts: frozenset[str]


@lru_cache(maxsize=4000)
def uses(source: str, package: str = "") -> Uses:
    """Read what code uses, wherever in it an import stands.

    A build asks for the same code again whenever it looks whether something has changed: reading is what takes long.

    Arguments:
        source: Python code.
        package: package of the module that it is, for relative imports.

    Raises:
        SyntaxError: it is no Python.
    """
    reader = _Reader(package)
    reader.visit(ast.parse(source))
    taken = {
        f"{target}.{rest}" if rest else target for name, rest in reader.taken for target in reader.bound.get(name, ())
    }
    return Uses(frozenset(reader.imported | taken), frozenset(reader.texts))


def imported_from(node: ast.ImportFrom, package: str) -> str:
    """Dotted name of the module that a `from` import names, its dots resolved."""
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)


class _Reader(ast.NodeVisitor):
    def __init__(self, package: str) -> None:
        self.package = package
        self.imported: set[str] = set()
        self.bound: defaultdict[str, set[str]] = defaultdict(set)
        self.taken: set[tuple[str, str]] = set()
        self.texts: set[str] = set()

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.imported.add(alias.name)
            self.bound[alias.asname or alias.name.partition(".")[0]].add(
                alias.name if alias.asname else alias.name.partition(".")[0]
            )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = imported_from(node, self.package)
        for alias in node.names:
            self.imported.add(f"{module}.{alias.name}")
            self.bound[alias.asname or alias.name].add(f"{module}.{alias.name}")

    def visit_If(self, node: ast.If) -> None:
        test = node.test
        if isinstance(test, ast.Name | ast.Attribute) and ast.unparse(test).endswith("TYPE_CHECKING"):
            for child in node.orelse:
                self.visit(child)
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self.taken.add((inner.id, ".".join(reversed(parts))))
        else:
            self.visit(inner)

    def visit_Name(self, node: ast.Name) -> None:
        # Handed on as a whole: anything may be taken from it.
        self.taken.add((node.id, WHOLE))

    def visit_Expr(self, node: ast.Expr) -> None:
        if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.texts.add(node.value)
