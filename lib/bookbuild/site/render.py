"""From pages to a site: Jupyter Book renders them, and any warning stops it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bookbuild.error import BookError
from bookbuild.site.kept import Kept, opened
from bookbuild.site.stage import write_stage


@dataclass(frozen=True)
class Tree:
    """What is to be rendered.

    Arguments:
        root: folder of the book.
        texts: page name -> MyST source of pages without code.
        notebooks: page name -> JSON of executed chapters.
        about: names of the pages that are written and whose warnings count, where others are only there to be referred
            to; of all if empty.
        jobs: processes that write pages.
    """

    root: Path
    texts: Mapping[str, str]
    notebooks: Mapping[str, str]
    about: frozenset[str] = frozenset()
    jobs: int = 1


def render(tree: Tree, into: Path, kept: Kept | None = None, builder: str = "html") -> Path:
    """Let Jupyter Book build a site, with every warning an error.

    Call it in a process of its own, which ends with the build.

    Arguments:
        tree: what to render.
        into: an empty folder for the site.
        kept: where Sphinx works; what it read there before and has not changed since, it does not read again, nor
            write, see `bookbuild.site.rewritten`. In a fresh folder if None, or where another build is at work there.
        builder: `html`, or `linkcheck`.

    Returns:
        Folder of the built site, below `into`.

    Raises:
        BookError: what Sphinx complained about, one reason a line, with the place in the author's files.
    """
    with opened(kept) as workshop:
        write_stage(workshop.stage, tree.root, tree.texts, tree.notebooks)
        site = workshop.stage / "_build" / "html"
        log = _log_of(workshop.stage, builder, tree, workshop.held)
        if log is not None:
            complaints = _complaints(workshop.stage, log)
            own = [line for line in complaints if any(name in tree.about for name in _names_in(line))]
            if not tree.about or own or any(not (site / f"{name}.html").is_file() for name in tree.about):
                raise BookError(*(own or complaints))
        if site.is_dir():  # a copy: what is put right in it afterwards is no work of Sphinx's
            shutil.copytree(site, into / "site") if workshop.kept else shutil.move(site, into / "site")
        if log is None:
            workshop.keep()
    return into / "site"


def _log_of(stage: Path, builder: str, tree: Tree, held: tuple[int, ...]) -> str | None:
    """What Sphinx printed where something is wrong, or None."""
    arguments = [str(stage), builder, str(tree.jobs), *sorted(tree.about)]
    command = [sys.executable, "-m", "bookbuild.site.typeset", *arguments]
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
    # Into files, not pipes: a program that it started and that outlived it would keep those open.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        done = subprocess.run(command, stdout=log, stderr=log, env=environment, pass_fds=held, check=False)
        log.seek(0)
        return None if done.returncode == 0 else log.read()


def _complaints(stage: Path, log: str) -> list[str]:
    """Pick the warnings out of a log and say where they are in the author's own files."""
    # Undo Sphinx's colours, its paths, and myst-nb's line numbers: 10000 for each cell, plus the line in the cell.
    log = re.sub(r"\x1b\[[0-9;]*m", "", log).replace(f"{stage.resolve()}/", "").replace(f"{stage}/", "")
    lines = [_located(line) for line in log.splitlines()]
    marked = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    return marked or lines[-30:] or ["Jupyter Book failed without a word"]


def _names_in(line: str) -> list[str]:
    """Names of the pages that a line of the log speaks of."""
    return re.findall(r"([\w./-]+)\.(?:md|ipynb)\b", line)


def _located(line: str) -> str:
    def name(match: re.Match[str]) -> str:
        number = int(match["line"])
        place = (
            f"cell {number // 10000} (text cells count), line {number % 10000}" if number >= 10000 else f"line {number}"
        )
        return f"{match['page']}.md: {place}:"

    return re.sub(r"(?P<page>[\w./-]+)\.ipynb:(?P<line>\d+):", name, line)
