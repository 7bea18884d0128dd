"""Technical English: the docstrings of five scientific packages that are installed with this one.

A document is a module. The sources are parsed, never imported. Docstrings repeat a lot (parameters, references,
warnings), so a docstring or a long paragraph that stood in an earlier module is left out: otherwise much of the
held-out text would be in the training text too.
"""

import ast
import inspect
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from moelaws.text.documents import check_pins

# All under the 3-clause BSD licence. Another version has other docstrings, and its runs are not comparable.
PACKAGES = {"networkx": "3.6.1", "numpy": "2.4.6", "pandas": "3.1.1", "scipy": "1.17.1", "sympy": "1.14.0"}

_LONG = 100  # characters from which on a paragraph must not repeat
# Tests are not documentation; the files depend on who built the package and for which system.
_SKIPPED_FOLDERS = {"tests", "testing", "test", "_vendor"}
_SKIPPED_FILES = {"__config__.py", "version.py", "_version.py", "_version_meson.py", "_distributor_init.py"}

# Fields of statements that hold statements, or what holds them: handlers of exceptions, cases of a match.
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def check_versions() -> None:
    """Check that the installed packages are the recorded ones.

    Raises:
        CorpusError: a package is absent or has another version.
    """
    check_pins("docstrings", PACKAGES)


def read_docstrings() -> tuple[str, ...]:
    """One document a module that has something new to say, packages and modules in order of name."""
    seen: set[str] = set()
    documents = []
    for package in PACKAGES:
        root = _folder(package)
        for file in sorted(root.rglob("*.py"), key=lambda file: file.relative_to(root).parts):
            folders = file.relative_to(root).parts[:-1]
            if _SKIPPED_FOLDERS.isdisjoint(folders) and file.name not in _SKIPPED_FILES:
                text = "\n\n".join(new for new in (_unseen(d, seen) for d in module_docstrings(file)) if new)
                if text:
                    documents.append(text + "\n")
    return tuple(documents)


def module_docstrings(file: Path) -> Iterator[str]:
    """The docstrings of a module, its classes and its functions, in the order in which they stand in the file.

    Args:
        file: a Python source.

    Yields:
        Docstrings without the indentation of the code around them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes such as "\d" in the sources
        tree = ast.parse(file.read_bytes(), filename=str(file))
    found = []
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                found.append((first.lineno, first.value.value))
    for _, docstring in sorted(found):
        yield inspect.cleandoc(docstring).strip()


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """A module and all its statements. Expressions, most of it, hold no definition and are not looked into."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for block in _BLOCKS:
            waiting += getattr(node, block, ())


def _unseen(docstring: str, seen: set[str]) -> str:
    """The docstring without paragraphs that stood before; empty if it stood before as a whole."""
    whole = " ".join(docstring.split())
    if whole in seen:
        return ""
    seen.add(whole)
    kept = []
    for paragraph in docstring.split("\n\n"):
        words = " ".join(paragraph.split())
        if len(words) < _LONG or words == whole:
            kept.append(paragraph)
        elif words not in seen:
            seen.add(words)
            kept.append(paragraph)
    return "\n\n".join(kept).strip()


def _folder(package: str) -> Path:
    """Where a package is installed, found without importing it."""
    place = metadata.distribution(package).locate_file(package)
    return Path(str(place))
