"""A reader's own run table in every chapter that takes one: a result, or one sentence that says what is missing."""

import ast
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import howmany.page
from bookbuild.pages.chapter import read_page
from bookbuild.pages.pairs import to_notebook
from bookbuild.pages.sizes import overrides
from moelaws.cli import main
from repository import ROOT

CELL = re.compile(r"```\{code-cell\}[^\n]*\n(.*?)```", re.DOTALL)
TAKES = re.compile(r"^(\w+_files?) = (?:\[\s*)?\"(?:\.\./)?data/runs/", re.MULTILINE)
PAGES = [ROOT / "index.md", *sorted((ROOT / "chapters").glob("*.md"))]
CHAPTERS = {path: TAKES.findall(path.read_text(encoding="utf-8")) for path in PAGES}
COLUMNS = ["loss", "total_params", "active_params", "tokens", "n_experts", "top_k"]
LONGEST = 400


def shapes() -> dict[str, pd.DataFrame]:
    """Tables as they are published: no budgets, no seeds, and a dozen runs of one seed."""
    runs = pd.read_csv(ROOT / "data" / "runs" / "isoflop.csv", low_memory=False)
    first = runs[runs["seed"] == 0]
    dozen = first[first["budget"] == 1e12].sample(12, random_state=2)
    return {
        "no budgets": runs[COLUMNS].sample(60, random_state=1),
        "no seeds": first[[*COLUMNS, "train_flops"]],
        "twelve runs": dozen[[*COLUMNS, "seed", "train_flops"]],
    }


def run(chapter: Path, parameter: str, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All code of a chapter at its small sizes, with a table of the reader's in one parameter's place."""
    text = chapter.read_text(encoding="utf-8")
    page = read_page(ROOT, chapter.relative_to(ROOT).with_suffix("").as_posix())
    cells = ["\n".join(line for line in cell.splitlines() if not line.startswith(":")) for cell in CELL.findall(text)]
    names: dict[str, Any] = {"__name__": "__main__"}
    monkeypatch.chdir(chapter.parent)
    monkeypatch.setenv("MOELAWS_CHARTS", "book")
    monkeypatch.setattr(howmany.page, "glue", lambda **_: None)  # without a kernel there is no page to hand numbers to
    exec(compile(ast.parse(cells[0]), f"{chapter.name}: parameters", "exec"), names)
    names |= overrides(page, to_notebook(page), "smoke")
    names[parameter] = [str(table)] if isinstance(names[parameter], list) else str(table)
    for number, cell in enumerate(cells[1:], start=2):
        exec(compile(ast.parse(cell), f"{chapter.name}: cell {number}", "exec"), names)


@pytest.mark.validate
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", shapes())
@pytest.mark.parametrize(
    ("chapter", "parameter"),
    [(path, name) for path, names in CHAPTERS.items() for name in names],
    ids=lambda each: getattr(each, "stem", each),
)
def test_a_table_of_ones_own_gives_a_result_or_a_sentence(
    chapter: Path, parameter: str, shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, table = tmp_path / "theirs.csv", tmp_path / "mine.csv"
    shapes()[shape].to_csv(theirs, index=False)
    assert main(["runs", str(theirs), "--write", str(table)]) == 0  # as running the book says
    refused = None
    try:
        run(chapter, parameter, table, monkeypatch)
    except ValueError as error:  # what the library and the study refuse with
        refused = error
    if refused is not None:
        said = str(refused)
        assert type(refused).__module__.split(".")[0] in ("moelaws", "howmany"), f"{type(refused).__name__}: {said}"
        assert 20 < len(said) < LONGEST, said
        assert "\n" not in said, said


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", ["no seeds", "no budgets"])
def test_training_flops_tell_the_budgets_that_a_chapter_asks_for(
    shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = shapes()[shape]
    assert "budget" not in runs.columns
    runs.to_csv(tmp_path / "mine.csv", index=False)
    run(ROOT / "chapters" / "isoflop_optima.md", "runs_file", tmp_path / "mine.csv", monkeypatch)


def test_every_parameter_that_names_a_run_table_is_tried() -> None:
    for path, names in CHAPTERS.items():
        text = path.read_text(encoding="utf-8")
        tables = {line.split(" = ")[0] for line in parameters(text) if "data/runs/" in line}
        assert tables == set(names), path.stem
        assert names or "../data/runs/" not in text, path.stem


def parameters(text: str) -> list[str]:
    """The assignments of a chapter's first cell, each in one line."""
    cells = CELL.findall(text)
    found = ast.parse("\n".join(line for line in cells[0].splitlines() if not line.startswith(":"))) if cells else None
    return [ast.unparse(each) for each in found.body if isinstance(each, ast.Assign)] if found else []
