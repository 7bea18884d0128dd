"""The commands that the pages show, taken apart as a shell would."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from repository import ROOT

PAGES = ("README.md", "running.md", "own_runs.md", "clusters.md", "teaching.md")
SHELL = ("sh", "bash")
# Words that begin a command where prose has it between backticks.
PROGRAMS = ("moelaws", "make", "pip", "dask", "papermill", "conda", "python", "jupytext", "sbatch")
_KEYWORDS = {"for", "do", "done", "in", "then", "fi", "if"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: its file's name.
        language: after the fence.
        text: without the indentation of the fence.
    """

    page: str
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        page: the page it stands in.
        words: what the shell would hand over, without ``VARIABLE=value`` in front.
    """

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def blocks(*languages: str, pages: tuple[str, ...] = PAGES) -> list[Block]:
    """The fenced blocks of some languages, ``""`` for those without one."""
    found = []
    for page in pages:
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in re.finditer(r"^( *)```([\w-]*)\n(.*?)^\1```$", text, flags=re.MULTILINE | re.DOTALL):
            indent, language, body = match.groups()
            if language in languages:
                found.append(Block(page, language, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)))
    return found


def commands_of(page: str, text: str) -> list[Command]:
    """The commands of a piece of shell, in order."""
    # A comment, but not the lines that speak to Slurm, which are looked at elsewhere.
    text = re.sub(r"(^|\s)#.*$", r"\1", text.replace("\\\n", " "), flags=re.MULTILINE)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    found, words = [], []
    for word in [*lexer, "\n"]:
        if not set(word) <= set(";&|\n"):
            words.append(word)
            continue
        while words and (re.match(r"[A-Z_]+=", words[0]) or words[0] in ("do", "then", "srun")):
            words.pop(0)
        if words and words[0] not in _KEYWORDS:
            found.append(Command(page, tuple(words)))
        words = []
    return found


def shell_commands() -> list[Command]:
    """Every command of every page: those in blocks, and those that prose has between backticks."""
    found = [command for block in blocks(*SHELL) for command in commands_of(block.page, block.text)]
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        prose = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for span in re.findall(r"`([^`\n]+)`", prose):
            if re.match(rf"({'|'.join(PROGRAMS)}) ", span):
                found += commands_of(page, span)
    return found


def with_my_sweeps(folder: Path) -> None:
    """Write the reader's own sweep, as running.md shows it, into a folder."""
    (sweeps,) = [block for block in blocks("python", pages=("running.md",)) if "def own_text" in block.text]
    (folder / "my_sweeps.py").write_text(sweeps.text)
