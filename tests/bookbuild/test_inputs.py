"""What a chapter depends on: an edit executes again each chapter that would now look otherwise, and no other."""

import importlib.util
import marshal
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bookbuild.execution.cache import Cache
from bookbuild.execution.notebooks import INPUTS, chapter_of, executed_notebooks, kept_notebook
from bookbuild.inputs.bytecode import CHECKED, compile_sources
from bookbuild.inputs.key import ground_digest
from bookbuild.inputs.modules import Library
from bookbuild.inputs.named import library_of, named_inputs
from bookbuild.inputs.seen import read_log, watching
from bookbuild.inputs.states import ABSENT
from bookbuild.inputs.uses import uses
from bookbuild.order import Order
from bookbuild.pages.chapter import Page, read_page
from bookbuild.pages.pairs import to_notebook
from bookbuild.pages.toc import read_toc
from books import sampled_pages
from repository import ROOT

HEADER = "---\nkernelspec: {name: python3, display_name: Python 3, language: python}\n---\n\n# Title\n\n"

DOOR = "import lazy_loader\n__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)\n"

# A library with a door, a room with a door, imports in functions, files named in full, in pieces, and not at all.
LIBRARY = {
    "law.py": "exponent = 0.5\n",
    "unused.py": "exponent = 1\n",
    "lab/__init__.py": DOOR,
    "lab/__init__.pyi": "from . import figures as figures\nfrom .lines import line as line\nfrom .other import dot\n",
    "lab/lines.py": "def line(x):\n    from lab.deep import slope\n    return slope * x\n",
    "lab/deep.py": "slope = 3\n",
    "lab/other.py": "dot = 7\n\n\ndef line(x):\n    return -x\n",
    "lab/plugin.py": "value = 11\n",
    "lab/tables.py": (
        "from pathlib import Path\n\n\ndef table():\n"
        "    return (Path(__file__).parents[2] / 'data' / 'pieces.csv').read_text()\n"
    ),
    "lab/figures/__init__.py": DOOR,
    "lab/figures/__init__.pyi": "from .bars import bar as bar\nfrom .dots import dot as dot\n",
    "lab/figures/bars.py": "import typing\n\nif typing.TYPE_CHECKING:\n    from lab import other\nbar = 'bar 1'\n",
    "lab/figures/dots.py": "dot = 'dot 1'\n",
}  # fmt: skip
DATA = {"two.csv": "2\n", "pieces.csv": "5\n", "child.csv": "6\n", "parts/a.csv": "1\n", "idle.csv": "0\n"}
CHAPTERS = {
    "one": "from lab import figures\nfrom lab.tables import table\nprint(figures.bar, table())",
    "two": (
        "import pathlib\nimport lab\nprint(lab.line(2), open('../data/two.csv').read())\n"
        "maybe = pathlib.Path('../data/maybe.csv')\nprint(maybe.read_text() if maybe.exists() else 'none')"
    ),
    "three": (
        "import importlib, pathlib, subprocess, sys\n"
        "print(importlib.import_module('lab.' + 'plugin').value, pathlib.Path('../lib/law.py').read_text())\n"
        "print([path.read_text() for path in sorted(pathlib.Path('../data/parts').glob('*.csv'))])\n"
        "child = \"print(open('../data/' + 'child.csv').read())\"\n"
        "print(subprocess.run([sys.executable, '-c', child], capture_output=True, text=True, check=True).stdout)"
    ),
}


def order_of(book: Path) -> Order:
    return Order(root=book, place=book / "_build" / "html", say=lambda _: None)


def pages_of(book: Path) -> list[Page]:
    return [read_page(book, f"chapters/{name}") for name in CHAPTERS]


def outdated(order: Order) -> set[str]:
    """Chapters that a build would execute."""
    cache, ground, library = Cache(order.work / "executed"), ground_digest(order.root), library_of(order.root)
    chapters = [chapter_of(order, page, ground, library) for page in pages_of(order.root)]
    return {each.page.stem for each in chapters if kept_notebook(order, cache, each) is None}


def printed(book: Path) -> dict[str, str]:
    """What the code of each chapter prints, without the builder: the truth that it is held against."""

    def run(name: str) -> str:
        path = {**os.environ, "PYTHONPATH": f"{book / 'lib'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        text = (book / "chapters" / f"{name}.md").read_text()
        code = "\n".join(part.split("```")[0].partition("\n")[2] for part in text.split("```{code-cell}")[2:])
        command = [sys.executable, "-B", "-c", code]
        done = subprocess.run(command, cwd=book / "chapters", env=path, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr.rpartition("\n  ")[2]

    with ThreadPoolExecutor(len(CHAPTERS)) as pool:
        return dict(zip(CHAPTERS, pool.map(run, CHAPTERS), strict=True))


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Order, dict[str, str]]]:
    """A book of three chapters, executed once, and what each prints. Who edits it puts everything back."""
    book = tmp_path_factory.mktemp("inputs") / "book"
    files = {f"lib/{name}": text for name, text in LIBRARY.items()} | {f"data/{name}": t for name, t in DATA.items()}
    for name, code in CHAPTERS.items():
        cells = (":tags: [parameters]\n\nsize = 1", code)
        text = HEADER + "\n\n".join(f"```{{code-cell}} ipython3\n{cell}\n```" for cell in cells) + "\n"
        files[f"chapters/{name}.md"] = text
    files |= {"constraints.txt": "numpy==2.0\n", "README.md": "read me\n", "chapters/_draft.md": "draft\n"}
    for name, text in files.items():
        (book / name).parent.mkdir(parents=True, exist_ok=True)
        (book / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        others = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", f"{book / 'lib'}{os.pathsep}{others}")
        order = order_of(book)
        executed_notebooks(order, pages_of(book))
        yield order, printed(book)


def append(text: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + text)

    return edit


def put(text: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return edit


# Each kind of input, edited, made or taken away, and the chapters that are executed again for it.
EDITS = [
    ("chapters/one.md", append("\nMore words.\n"), {"one"}),
    ("lib/lab/figures/bars.py", put("bar = 'bar 2'\n"), {"one"}),
    ("lib/lab/figures/dots.py", put("dot = 'dot 2'\n"), set()),
    ("lib/lab/figures/__init__.pyi", put("from .dots import dot as bar\n"), {"one"}),
    ("lib/lab/figures/__init__.pyi", append("from .more import more as more\n"), set()),
    ("lib/lab/tables.py", put("def table():\n    return 8\n"), {"one"}),
    ("lib/lab/lines.py", put("def line(x):\n    return x\n"), {"two"}),
    ("lib/lab/deep.py", put("slope = 4\n"), {"two"}),
    ("lib/lab/other.py", append("more = 1\n"), set()),
    ("lib/lab/__init__.pyi", put("from . import figures as figures\nfrom .other import line as line\n"), {"two"}),
    ("lib/lab/__init__.pyi", append("from .more import more as more\n"), set()),
    ("lib/lab/__init__.py", append("x = 1\n"), {"one", "two", "three"}),
    ("lib/lab/plugin.py", put("value = 12\n"), {"three"}),
    ("lib/lab/deep/__init__.py", put("slope = 5\n"), {"two"}),
    ("lib/lab/new.py", put("x = 1\n"), set()),
    ("lib/law.py", put("exponent = 0.6\n"), {"three"}),
    ("lib/unused.py", put("exponent = 2\n"), set()),
    ("lib/lab/plugin/__init__.py", put("value = 13\n"), {"three"}),
    ("chapters/lab.py", put("line = abs\n"), {"one", "two", "three"}),
    ("lib/json.py", put("dumps = abs\n"), {"one", "two", "three"}),
    ("data/two.csv", put("3\n"), {"two"}),
    ("data/two.csv", Path.unlink, {"two"}),
    ("data/maybe.csv", put("1\n"), {"two"}),
    ("data/pieces.csv", put("6\n"), {"one"}),
    ("data/child.csv", put("7\n"), {"three"}),
    ("data/parts/a.csv", put("2\n"), {"three"}),
    ("data/parts/b.csv", put("2\n"), {"three"}),
    ("data/parts/a.csv", Path.unlink, {"three"}),
    ("data/idle.csv", put("1\n"), set()),
    ("data/new.csv", put("1\n"), set()),
    ("README.md", append("more\n"), set()),
    ("chapters/_draft.md", append("more\n"), set()),
    ("constraints.txt", put("numpy==2.1\n"), {"one", "two", "three"}),
]


@pytest.mark.parametrize(("name", "edit", "expected"), EDITS, ids=lambda value: value if isinstance(value, str) else "")
def test_what_an_edit_changes_is_executed_again_and_nothing_else(
    name: str, edit: Callable[[Path], None], expected: set[str], executed: tuple[Order, dict[str, str]]
) -> None:
    order, before = executed
    path = order.root / name
    text = path.read_text() if path.exists() else None
    assert outdated(order) == set()
    try:
        edit(path)
        found, after = outdated(order), printed(order.root)
    finally:
        if text is not None:
            path.write_text(text)
        else:
            path.unlink()
            if path.name == "__init__.py":
                path.parent.rmdir()
    stale = {name for name in CHAPTERS if after[name] != before[name]} - found
    assert not stale
    assert found == expected
    assert outdated(order) == set()


def test_every_profile_is_executed_for_itself(executed: tuple[Order, dict[str, str]]) -> None:
    assert outdated(replace(executed[0], profile="smoke")) == set(CHAPTERS)


def test_pins_that_are_not_what_is_installed_count(
    executed: tuple[Order, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bookbuild.inputs.key.metadata.version", lambda name: "0.0")
    assert outdated(executed[0]) == set(CHAPTERS)


def test_times_and_byte_code_do_not_count(executed: tuple[Order, dict[str, str]]) -> None:
    order, _ = executed
    for path in [*(order.root / "lib").rglob("*.py"), *(order.root / "data").rglob("*.csv")]:
        os.utime(path, (1, 1))
    for folder in ("lib/__pycache__", "chapters/__pycache__"):
        (order.root / folder).mkdir(exist_ok=True)
        (order.root / folder / "law.cpython-399.pyc").write_bytes(b"x")
    assert outdated(order) == set()


def test_a_chapter_that_was_not_watched_depends_on_everything(
    executed: tuple[Order, dict[str, str]],
) -> None:
    order, page = replace(executed[0], profile="unwatched"), pages_of(executed[0].root)[0]
    lost = "```{code-cell} ipython3\nimport os\nos.remove(os.environ['MOELAWS_BOOK_LOG'])\n```\n"
    executed_notebooks(order, [replace(page, text=page.text + lost)])
    kept = Cache(order.work / "executed").latest("chapters/one", "unwatched")
    assert "data/idle.csv" in kept.metadata[INPUTS]["read"]
    assert "lib/unused.py" in kept.metadata[INPUTS]["read"]


def test_old_byte_code_of_the_same_second_is_not_executed(
    executed: tuple[Order, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    order = replace(executed[0], profile="second")
    page, source = pages_of(order.root)[:1], order.root / "lib" / "lab" / "figures" / "bars.py"
    before = source.read_text()
    try:
        for text in ("bar 1", "bar 7"):  # of one size
            source.write_text(f"bar = '{text}'\n")
            os.utime(source, (1e9, 1e9))
            assert text in executed_notebooks(order, page).texts["chapters/one"]
            assert list(source.parent.glob("__pycache__/bars.*.pyc"))
    finally:
        source.write_text(before)


def test_byte_code_that_knows_its_source_by_a_hash_is_taken_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    source, log = tmp_path / "words.py", tmp_path / "log"
    source.write_text("word = 'source'")
    content, state = source.read_bytes(), source.stat()
    place = Path(importlib.util.cache_from_source(source))
    place.parent.mkdir()
    other = marshal.dumps(compile("word = 'byte code'", str(source), "exec"))
    dated = bytes(4) + int(state.st_mtime).to_bytes(4, "little") + state.st_size.to_bytes(4, "little")

    def imported() -> str:
        log.unlink(missing_ok=True)
        line = [sys.executable, "-B", "-c", "import words; print(words.word)"]
        environment = os.environ | watching(log, [tmp_path])
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert list(read_log(log, tmp_path).files) == ["words.py"]
        return done.stdout.strip()

    for head, expected in (
        (CHECKED + importlib.util.source_hash(content), "byte code"),
        (CHECKED + importlib.util.source_hash(content + b" "), "source"),
        (dated, "source"),
    ):
        place.write_bytes(importlib.util.MAGIC_NUMBER + head + other)
        assert imported() == expected
    compile_sources([source, tmp_path / "absent.py"])
    assert place.read_bytes()[4:16] == CHECKED + importlib.util.source_hash(content)
    assert imported() == "source"


def test_names_are_followed_to_the_modules_behind_them(tmp_path: Path) -> None:
    for name, text in LIBRARY.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def found(code: str) -> set[str]:
        modules = Library(((tmp_path, None),)).closure(uses(code)).modules
        return {module.path.relative_to(tmp_path).with_suffix("").as_posix() for module in modules} - {"lab/__init__"}

    line, figures = {"lab/lines", "lab/deep"}, "lab/figures/__init__"
    assert found("import lab") == set()
    assert found("import lab as l\nl.line(1)") == line
    assert found("from lab import line") == line
    assert found("from lab import line as other, figures\nfigures.dot") == line | {figures, "lab/figures/dots"}
    assert found("import lab\nlab.figures.bar") == {figures, "lab/figures/bars"}
    assert found("import lab.figures.bars") == {figures, "lab/figures/bars"}
    assert found("from lab.figures.bars import bar") == {figures, "lab/figures/bars"}
    assert found("def f():\n    import lab.plugin") == {"lab/plugin"}
    assert found("import importlib\nimportlib.import_module('lab.plugin')") == {"lab/plugin"}
    assert found("'lab.nothing of the kind', 'lab.figure'") == set()
    everything = {"lab/lines", "lab/deep", "lab/other", figures, "lab/figures/bars", "lab/figures/dots"}
    assert found("import lab\nvars(lab)") == everything
    assert found("from lab import *") == everything
    assert found("import lab\nlab.unknown") == everything | {"lab/plugin", "lab/tables"}


def test_files_may_come_that_a_chapter_names(tmp_path: Path) -> None:
    page = Page("chapters/x", "", {"moelaws": {"profiles": {"smoke": {"table": "../data/small.csv"}}}})
    text = HEADER + "```{code-cell} ipython3\ntable = '../data/large.csv'\n```\n"
    named = named_inputs(tmp_path, page, to_notebook(replace(page, text=text)), library_of(tmp_path))
    assert named.states(tmp_path) == {f"data/{size}.csv": ABSENT for size in ("small", "large")}


SOURCES = (
    *(f"lib/moelaws/{room}/" for room in ("kernels", "models", "reshape", "text", "training", "sweeping")),
    "lib/moelaws/decoding/compiled/",  # what is compiled is kept under a hash of its sources
    "lib/bookbuild/execution/nursery.py",  # the file of the process that a kernel was divided from
)


def _folders(text: str) -> tuple[str, ...]:
    """Folders that a chapter's parameters name: it reads what lies in them."""
    names = re.findall(r'^\w+ = "(?:\.\./)?([\w/]+)"', text, re.MULTILINE)
    return tuple(f"{name}/" for name in names if (ROOT / name).is_dir())


@pytest.mark.parametrize("which", ["sampled", pytest.param("all", marks=pytest.mark.validate)])
@pytest.mark.usefixtures("sample_site")
def test_what_chapters_were_seen_to_read_is_what_they_name(which: str) -> None:
    """For the chapters of this book: imports in the text, or hidden in functions, are those that were loaded.

    One thing only a look at the execution can tell: training reads sources, to say which code it was.
    """
    pages = sampled_pages() if which == "sampled" else [read_page(ROOT, name) for name in read_toc(ROOT)]
    executed_notebooks(Order(root=ROOT, place=ROOT / "_build" / "none", profile="smoke"), pages)
    cache, library, missed = Cache(ROOT / "_build" / "executed"), library_of(ROOT), []
    for page in (page for page in pages if page.is_notebook):
        named = named_inputs(ROOT, page, to_notebook(page), library)
        states = cache.latest(page.name, "smoke").metadata[INPUTS]["read"]
        read = {name for name, state in states.items() if state != ABSENT}
        loaded = {name for name in read if name.endswith(".py")}
        read -= {name for name in read if name.startswith(_folders(page.text))}
        hashed = {name for name in read if name.startswith(SOURCES)}
        data = {name for name in named.data if f'"../{name}"' in page.text and (ROOT / name).exists()}
        missed += [f"{page.stem} loads {name}" for name in loaded - named.modules - hashed]
        missed += [f"{page.stem} reads {name}" for name in read - loaded - named.data - hashed]
        missed += [f"{page.stem} names {name}" for name in data - read]
        assert {"lib/moelaws/__init__.py", "lib/moelaws/charts/offline.py"} <= loaded
    assert not missed, "\n".join(missed)
