"""Modules that code imports, and those that these import: found in the sources, so nothing has to be executed.

Packages whose names are loaded on first use say in a stub, `__init__.pyi`, where each name comes from; a name is
followed to the module that the stub names, and to no other.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from bookbuild.inputs.uses import WHOLE, Uses, imported_from, uses

_DEEPEST = 10
"""Doors behind doors that are opened; circles end there."""

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+(:\w+)?")


@dataclass(frozen=True)
class Module:
    """One file of Python.

    Arguments:
        name: dotted name.
        path: its file.
    """

    name: str
    path: Path

    @property
    def package(self) -> str:
        """The package that its relative imports start from."""
        return self.name if self.path.stem == "__init__" else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Closure:
    """What code needs of a library.

    Arguments:
        modules: each module that may be loaded.
        doors: names that stubs of these modules gave away -> what they stand for there.
        texts: string constants of these modules and of the code itself, by the folder of the module (`None` for the
            code itself).
        packages: first parts of the names that these modules and the code use, installed packages among them.
    """

    modules: frozenset[Module]
    doors: Mapping[str, str]
    texts: Mapping[Path | None, frozenset[str]]
    packages: frozenset[str]


@dataclass(frozen=True)
class Library:
    """Folders of Python sources, and what was read in them. Make a new one for each build: it is never read twice.

    Arguments:
        folders: folders on the path of the interpreter, and the packages in each that count (`None` for all).
    """

    folders: tuple[tuple[Path, frozenset[str] | None], ...]
    _uses: dict[Path, Uses] = field(default_factory=dict, repr=False)
    _stubs: dict[Path, Mapping[str, str] | None] = field(default_factory=dict, repr=False)
    _known: dict[tuple[str, Path | None], tuple[frozenset[Module], dict[str, str]]] = field(
        default_factory=dict, repr=False
    )

    def importable(self, beside: Path) -> dict[str, str]:
        """Names of modules that come before installed ones: in each folder of sources, and beside the code."""
        return {str(folder): _top_names(folder) for folder, packages in self.folders if packages is None} | {
            str(beside): _top_names(beside)
        }

    def closure(self, code: Uses, beside: Path | None = None) -> Closure:
        """Follow all imports of a piece of code.

        Arguments:
            code: what it uses.
            beside: folder of the code, from which it can import, too.
        """
        texts: dict[Path | None, frozenset[str]] = {None: code.texts}
        found: set[Module] = set()
        doors: dict[str, str] = {}
        names, waiting = set(code.names), self._named(code)
        while waiting:
            for module in self._found(waiting.pop(), beside, doors):
                if module in found:
                    continue
                found.add(module)
                used = self._read(module)
                names |= used.names
                waiting |= self._named(used)
                texts[module.path.parent] = texts.get(module.path.parent, frozenset()) | used.texts
        return Closure(frozenset(found), doors, texts, frozenset(name.partition(".")[0] for name in names))

    def _found(self, name: str, beside: Path | None, doors: dict[str, str]) -> frozenset[Module]:
        """Modules behind a name, each name looked up once; the doors on its way are added to those given."""
        if (name, beside) not in self._known:
            way = _Way(beside, {})
            self._known[name, beside] = frozenset(self._resolved(name, way)), way.doors
        found, passed = self._known[name, beside]
        doors |= passed
        return found

    def _named(self, code: Uses) -> set[str]:
        # A module may be named by a text, too: importlib.import_module("howmany.designs").
        texts = {text.partition(":")[0] for text in code.texts if _DOTTED.fullmatch(text)}
        return set(code.names) | {text for text in texts if self._is_module(text)}

    def _is_module(self, name: str) -> bool:
        return any(
            (packages is None or name.partition(".")[0] in packages) and _module(folder / parts[0], parts[1], name)
            for folder, packages in self.folders
            for parts in [name.replace(".", "/").rsplit("/", 1)]
        )

    def _read(self, module: Module) -> Uses:
        if module.path not in self._uses:
            try:
                self._uses[module.path] = uses(_text(module.path), module.package)
            except (SyntaxError, ValueError):  # importing it fails, and then the chapter does
                self._uses[module.path] = Uses(frozenset(), frozenset())
        return self._uses[module.path]

    def _resolved(self, name: str, way: "_Way") -> set[Module]:
        """Modules that are loaded to get at a dotted name."""
        first, *rest = name.split(".")
        places = [folder for folder, packages in self.folders if packages is None or first in packages]
        for bare in (False, True):
            for folder in [way.beside, *places] if way.beside else places:
                if top := _module(folder, first, first, bare):
                    return self._descended(top, rest, way)
        return set()

    def _descended(self, module: Module, rest: Iterable[str], way: "_Way") -> set[Module]:
        found, parts = {module}, list(rest)
        while parts and module.path.stem == "__init__":
            part = parts.pop(0)
            stub = self._stub(module) or {}
            inside = (module.path.parent, part, f"{module.name}.{part}")
            inner = _module(*inside) or _module(*inside, bare=True)
            if part in stub and stub[part] != f"{module.name}.{part}":
                found |= self._behind(module, part, stub[part], parts, way)
            elif inner is None:
                found |= self._room(module, part, way)
            if inner is None:
                return found
            found.add(inner)
            module = inner
        return found

    def _behind(self, module: Module, name: str, target: str, rest: Iterable[str], way: "_Way") -> set[Module]:
        """Modules behind a name that a stub gives away."""
        way.doors[f"{module.name}.{name}"] = target
        if way.depth == _DEEPEST:
            return set()
        return self._resolved(".".join([target, *rest]), replace(way, depth=way.depth + 1))

    def _room(self, module: Module, part: str, way: "_Way") -> set[Module]:
        """Modules behind a name of a package that is neither a module in it nor in its stub."""
        stub = self._stub(module)
        if part == WHOLE and stub is not None:
            return set().union(*(self._behind(module, name, target, [WHOLE], way) for name, target in stub.items()))
        if part == WHOLE or ("__getattr__" in _text(module.path) and not part.startswith("__")):
            inside = (path for path in module.path.parent.rglob("*.py") if path != module.path)
            return {Module(_dotted(path, module), path) for path in inside}
        return set()

    def _stub(self, module: Module) -> Mapping[str, str] | None:
        path = module.path.with_suffix(".pyi")
        if path not in self._stubs:
            self._stubs[path] = _stub_names(path, module.name)
        return self._stubs[path]


@dataclass(frozen=True)
class _Way:
    """How a name is followed: from where, past which doors, through how many of them."""

    beside: Path | None
    doors: dict[str, str]
    depth: int = 0


def _module(folder: Path, part: str, name: str, bare: bool = False) -> Module | None:
    """The module of a name in a folder; a package hides a module of the same name, as it does for Python.

    A `bare` folder, without an `__init__.py`, is what Python takes last; its file is absent, and may come.
    """
    if not part.isidentifier():
        return None
    if bare:
        return Module(name, folder / part / "__init__.py") if any((folder / part).glob("*.py")) else None
    for path in (folder / part / "__init__.py", folder / f"{part}.py"):
        if path.is_file():
            return Module(name, path)
    return None


def _top_names(folder: Path) -> str:
    found = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/*.py")}
    return " ".join(sorted(found))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _dotted(path: Path, package: Module) -> str:
    parts = path.relative_to(package.path.parent).with_suffix("").parts
    return ".".join([package.name, *(part for part in parts if part != "__init__")])


def _stub_names(path: Path, package: str) -> Mapping[str, str] | None:
    """Name -> dotted name of what it stands for, in a stub; None where there is none that can be read."""
    try:
        return _names_in(path.read_text(encoding="utf-8"), package)
    except (OSError, SyntaxError, ValueError):
        return None


@lru_cache(maxsize=1000)
def _names_in(stub: str, package: str) -> Mapping[str, str]:
    tree = ast.parse(stub)
    return {
        alias.asname or alias.name: f"{imported_from(node, package)}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith(package))
        for alias in node.names
    }
