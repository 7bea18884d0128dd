"""What every chapter keeps to: imports through the front door, short cells, numbers that somebody makes."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from repository import ROOT

CHAPTERS = sorted((ROOT / "chapters").glob("*.md"))
CELL = re.compile(r"```\{code-cell\}[^\n]*\n(.*?)```", re.DOTALL)
HIDDEN = re.compile(r":tags:.*(remove|hide)")
LINES, COLUMNS, SHARE = 15, 90, 0.30
LESSONS = 6
"""Visible cells in the whole book that may define a function, because it is what is being taught."""

by_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def cells(path: Path) -> list[str]:
    return CELL.findall(path.read_text(encoding="utf-8"))


def code(cell: str) -> str:
    return "\n".join(line for line in cell.splitlines() if not line.startswith(":"))


def visible(path: Path) -> Iterator[list[str]]:
    for cell in cells(path):
        if not HIDDEN.search(cell):
            yield [line for line in code(cell).splitlines() if line.strip()]


def imported(path: Path) -> dict[str, str]:
    """Name in the chapter -> the module that it stands for, of the modules of this repository."""
    found = {}
    for node in ast.walk(ast.parse("\n".join(map(code, cells(path))))):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {name: full for name, full in found.items() if full.split(".")[0] in ("moelaws", "howmany")}


def module(full: str) -> ModuleType | None:
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError:
        return None


@by_chapter
def test_chapters_import_through_the_door(path: Path) -> None:
    for full in imported(path).values():
        inside = full.split(".")
        assert inside[0] == "howmany" or len(inside) <= 2 or inside[1] == "charts", f"{full} is behind the door"


@by_chapter
def test_visible_cells_are_short_and_narrow(path: Path) -> None:
    for body in visible(path):
        assert len(body) <= LINES, body[0]
        assert max(map(len, body), default=0) <= COLUMNS, max(body, key=len)


def test_functions_are_defined_where_they_are_the_lesson() -> None:
    defined = [body[0] for path in CHAPTERS for body in visible(path) if any(line.startswith("def ") for line in body)]
    assert len(defined) <= LESSONS


def test_a_book_is_text() -> None:
    lines = sum(path.read_text().count("\n") for path in CHAPTERS)
    assert sum(cell.count("\n") for path in CHAPTERS for cell in cells(path)) / lines <= SHARE


@by_chapter
def test_what_a_chapter_asks_of_a_module_is_there(path: Path) -> None:
    modules = {name: found for name, full in imported(path).items() if (found := module(full)) is not None}
    for node in ast.walk(ast.parse("\n".join(map(code, cells(path))))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), ast.unparse(node)


STUDY = (
    "question", "recipe", "isoflop", "isoflop_optima", "finer_experts", "experts", "own_law", "floors", "forecasts",
    "downstream", "abnar_verdicts", "sparsity_law", "serving_optimal", "yun_verdicts", "plan_your_own",
    "program_text", "program_forecasts", "repeats",
)  # fmt: skip
"""Chapters that find something out of runs or of a law."""


@pytest.mark.parametrize("name", STUDY)
def test_a_chapter_of_the_study_begins_with_its_finding(name: str) -> None:
    text = (ROOT / "chapters" / f"{name}.md").read_text(encoding="utf-8")
    overview = text.partition(":::{admonition} Overview")[2].partition("\n:::\n")[0]
    (finding,) = [line for line in overview.splitlines() if "**Found**" in line]
    assert "{glue:text}" in finding, "a finding is a number that the chapter makes"
    # An interval stands with it, or the reason why there is none.
    assert re.search(r"95 %|interval|standard error|over all assumptions", overview), name


@by_chapter
def test_every_number_of_the_text_is_made(path: Path) -> None:
    used = set(re.findall(r"\{glue:\w*\}`(\w+)`", path.read_text(encoding="utf-8")))
    sources = [Path(str(found.__file__)).read_text() for full in imported(path).values() if (found := module(full))]
    # A name is a text of a source, or begins and ends like one that is put together: f"ol_{name}_low".
    texts = {text for source in sources for text in re.findall(r'"((?:\w|\{[^{}]*\})+)"', source)}
    patterns = {re.sub(r"\{[^{}]*\}", r"\\w+", text) for text in texts} - {r"\w+"}
    assert not [name for name in used if not any(re.fullmatch(pattern, name) for pattern in patterns)]


@by_chapter
def test_each_exercise_says_how_long_and_how_hard_it_is_and_is_solved(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"^:::\{exercise(?:-start)?\}([^\n]*)\n:label: (\S+)$", text, flags=re.MULTILINE)
    assert len(found) == len(re.findall(r"^:+\{exercise(?:-start)?\}", text, flags=re.MULTILINE))
    for title, label in found:
        assert re.fullmatch(r" \d+ minutes, (easy|medium|hard)", title), label
        answer = re.search(rf"^:::\{{solution(?:-start)?\}} {re.escape(label)}$", text, flags=re.MULTILINE)
        assert answer, f"{label} has no answer"
        assert answer.start() > text.index(f":label: {label}\n"), f"the answer of {label} stands above it"


def timed() -> dict[str, tuple[int, str]]:
    """Label of each exercise -> its minutes and how hard it is."""
    found = {}
    for path in CHAPTERS:
        asked = re.findall(
            r"^:::\{exercise(?:-start)?\} (\d+) minutes, (\w+)\n:label: (\S+)$", path.read_text(), flags=re.MULTILINE
        )
        found |= {label: (int(minutes), hard) for minutes, hard, label in asked}
    return found


def test_the_paths_of_teachers_name_exercises_as_they_are() -> None:
    text, minutes = (ROOT / "teaching.md").read_text(encoding="utf-8"), timed()
    named = re.findall(r"\{ref\}`([^`]+)` \((\d+), (\w+)\)", text)
    assert len(named) > 20
    assert [each for each in named if minutes.get(each[0]) != (int(each[1]), each[2])] == []


def test_the_bank_has_twenty_questions_each_with_one_answer_and_a_reason() -> None:
    text = (ROOT / "questions.md").read_text(encoding="utf-8")
    numbers = re.findall(r"^\*\*(\d+)\.\*\* ", text, flags=re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 21)]
    asked = re.split(r"^\*\*\d+\.\*\* ", text, flags=re.MULTILINE)[1:]
    letters = []
    for one in asked:
        assert re.findall(r"^- \*\*([A-D])\.\*\* \S", one, flags=re.MULTILINE) == ["A", "B", "C", "D"]
        answer = re.search(
            r"^:::\{dropdown\} Answer\n\*\*([A-D])\.\*\* (.+)\n→ \{doc\}`(\S+)`\n:::$", one, flags=re.MULTILINE
        )
        assert answer, one[:60]
        assert len(answer[2]) > 40
        assert (ROOT / f"{answer[3]}.md").is_file()
        letters.append(answer[1])
    assert all(3 <= letters.count(letter) <= 7 for letter in "ABCD"), "a letter that is right too often is an answer"
