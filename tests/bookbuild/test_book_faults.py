"""What may happen to a build: the site in place is whole, nothing is left running, and one sentence says why."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import nbformat
import pytest

from bookbuild.command import main
from bookbuild.execution.cache import Cache
from bookbuild.execution.execute import MANY
from bookbuild.site.exchange import exchange
from books import copy_small_book
from small_sweep import alive, until, with_tests

WAITING = """
---
kernelspec: {name: python3, display_name: Python 3, language: python}
---

# Waiting

```{code-cell} ipython3
:tags: [parameters]

mark = "%s"
```

```{code-cell} ipython3
import os, pathlib, time

pathlib.Path(mark).write_text(f"{os.getpid()} {os.getppid()}")
time.sleep(600)
```
""".lstrip()


# --- the cache ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b"[]", b"null", b"3", b'{"cells": [', b'{"cells": 1, "nbformat": 4, "nbformat_minor": 5}', b"\xff\xfe",
     b'{"cells": [{}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', b"[" * 100_000, None],
    ids=lambda damage: "a folder" if damage is None else repr(damage[:20]),
)  # fmt: skip
def test_a_damaged_entry_counts_as_none_and_is_made_good(
    damage: bytes | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cache, notebook = Cache(tmp_path), nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("text", id="a")])
    entry = cache.path("chapters/x", "full", "k")
    entry.parent.mkdir(parents=True)
    if damage is None:
        (entry / "inside").mkdir(parents=True)
    else:
        entry.write_bytes(damage)
    assert cache.load("chapters/x", "full", "k") is None
    cache.store("chapters/x", "full", "k", notebook)
    assert cache.load("chapters/x", "full", "k") == notebook
    assert capfd.readouterr().err == ""


def test_a_cache_that_cannot_be_written_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, notebook = Cache(tmp_path), nbformat.v4.new_notebook()
    cache.store("chapters/x", "full", "k", notebook)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "utime", refuse)
    assert cache.load("chapters/x", "full", "k") == notebook


# --- the disk ----------------------------------------------------------------------------------------------------


def mount(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of our own, which can be filled and made read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=128m", "tmpfs", str(place)):
        pytest.skip("mounting a file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def page_only(folder: Path) -> Path:
    """The small book without chapters, which is quick to build."""
    book = copy_small_book(folder)
    shutil.rmtree(book / "chapters")
    (book / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n  - file: tables\n")
    (book / "index.md").write_text("# Front\n\nText {cite:t}`small2026`.\n")
    return book


def test_a_full_disk_and_one_that_cannot_be_written_keep_the_old_site(
    disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    book = page_only(disk / "book")
    assert main(["build", "--root", str(book)]) == 0
    site = book / "_build" / "html"
    before = (site / "tables.html").read_bytes()
    with (book / "tables.md").open("a") as page:
        page.write("\nMore text.\n")
    capfd.readouterr()

    room = shutil.disk_usage(disk).free - 100_000
    (disk / "filler").write_bytes(bytes(room))
    assert main(["build", "--root", str(book)]) == 1
    said = capfd.readouterr().err
    assert "No space left on device" in said
    assert "Traceback" not in said
    assert (site / "tables.html").read_bytes() == before
    assert not [path for path in (book / "_build").iterdir() if path.name.startswith(".html")]

    assert mount("-o", "remount,ro", str(disk))
    assert main(["build", "--root", str(book)]) == 1
    said = capfd.readouterr().err
    assert "Read-only file system" in said.splitlines()[0]
    assert "Traceback" not in said
    assert (site / "tables.html").read_bytes() == before


def test_a_pair_that_cannot_be_written_is_a_sentence(disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    book = copy_small_book(disk / "book")
    assert mount("-o", "remount,ro", str(disk))
    assert main(["sync", "--root", str(book)]) == 1
    said = capfd.readouterr().err
    assert "Read-only file system" in said.splitlines()[0]
    assert "Traceback" not in said


def test_a_file_where_a_folder_should_be_is_a_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    book = copy_small_book(tmp_path / "book")
    shutil.rmtree(book / "_build")
    (book / "_build").write_text("mine")
    assert main(["build", "--root", str(book)]) == 1
    said = capfd.readouterr().err
    assert said.startswith(f"error: {book / '_build'}")
    assert said.count("\n") == 2
    assert (book / "_build").read_text() == "mine"


# --- the site ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", [True, False])
def test_two_folders_change_their_names(system: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not system:
        monkeypatch.setattr("bookbuild.site.exchange._exchanged", lambda *_: False)
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "page").write_text(name)
    exchange(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "page").read_text() == "new"
    assert (tmp_path / "new" / "page").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_an_exchange_that_is_interrupted_leaves_the_old_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bookbuild.site.exchange._exchanged", lambda *_: False)
    (tmp_path / "old").mkdir()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").is_dir()


# --- signals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "count"),
    [(signal.SIGINT, 1), (signal.SIGTERM, MANY), (signal.SIGKILL, 1), (signal.SIGKILL, MANY)],
)
def test_a_build_that_is_ended_takes_its_kernels_with_it(number: signal.Signals, count: int, tmp_path: Path) -> None:
    """Kernels that were started one by one, and many that come from a nursery, which ends, too."""
    book, mark = page_only(tmp_path / "book"), tmp_path / "mark0"
    (book / "chapters").mkdir()
    for chapter in range(count):
        (book / "chapters" / f"waiting{chapter}.md").write_text(WAITING % (tmp_path / f"mark{chapter}"))
    entries = "".join(f"  - file: chapters/waiting{chapter}\n" for chapter in range(count))
    (book / "_toc.yml").write_text(f"format: jb-book\nroot: index\nchapters:\n{entries}")
    (book / "tables.md").unlink()
    pipe = subprocess.PIPE
    build = subprocess.Popen(
        [sys.executable, "-m", "bookbuild", "build", "--root", str(book)], env=with_tests(), text=True, stdout=pipe,
        stderr=pipe, start_new_session=True, preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until(lambda: mark.exists() and mark.read_text(), "a kernel at work")
    kernel, worker = map(int, mark.read_text().split())
    if number == signal.SIGKILL:
        build.kill()
    else:
        os.killpg(build.pid, number)
    begin = time.monotonic()
    _, errors = build.communicate(timeout=60)  # nobody holds its output any longer
    if number != signal.SIGKILL:
        assert build.returncode == 128 + number
        expected = "there is no site yet, and the chapters that were executed are kept"
        assert errors == f"bookbuild: interrupted; {expected}\n"
        assert not alive(kernel)
    until(lambda: not (alive(kernel) or alive(worker)), "the end of the kernel", 30)
    assert time.monotonic() - begin < 30
    assert not (book / "_build" / "html").exists()
