"""From a staged tree to a site: Jupyter Book renders it, and any warning stops it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from bookbuild.error import BookError


def render(stage: Path, builder: str = "html", about: str = "") -> Path:
    """Let Jupyter Book build the staged tree from nothing, with every warning an error.

    Arguments:
        stage: the tree.
        builder: `html`, or `linkcheck`.
        about: name of the one page whose warnings count, where the others are only there to be referred to.

    Returns:
        Folder of the built site, below `stage`.

    Raises:
        BookError: what Sphinx complained about, one reason a line, with the place in the author's files.
    """
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(stage)]
    options = ["--builder", builder, "--warningiserror", "--keep-going", "--quiet"]
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment, check=False)
    site = stage / "_build" / "html"
    if done.returncode != 0:
        complaints = _complaints(stage, done.stdout + done.stderr)
        own = [line for line in complaints if re.search(rf"(^|/){re.escape(about)}\.(md|ipynb)\b", line)]
        if not about or own or not (site / f"{about}.html").is_file():
            raise BookError(*(own or complaints))
    return site


def _complaints(stage: Path, log: str) -> list[str]:
    """Pick the warnings out of a log and say where they are in the author's own files."""
    # Undo Sphinx's colours, its paths, and myst-nb's line numbers: 10000 for each cell, plus the line in the cell.
    log = re.sub(r"\x1b\[[0-9;]*m", "", log).replace(f"{stage.resolve()}/", "").replace(f"{stage}/", "")
    lines = [_located(line) for line in log.splitlines()]
    marked = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    return marked or lines[-30:] or ["Jupyter Book failed without a word"]


def _located(line: str) -> str:
    def name(match: re.Match[str]) -> str:
        number = int(match["line"])
        place = (
            f"cell {number // 10000} (text cells count), line {number % 10000}" if number >= 10000 else f"line {number}"
        )
        return f"{match['page']}.md: {place}:"

    return re.sub(r"(?P<page>[\w./-]+)\.ipynb:(?P<line>\d+):", name, line)
