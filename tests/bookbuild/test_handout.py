"""What students get holds every question and no answer; what the teacher gets holds every answer."""

import json
import re
from pathlib import Path

import pytest

from bookbuild.command import main
from bookbuild.error import BookError
from bookbuild.handout import answers, without_answers, write_handout
from bookbuild.pages.chapter import Page, read_page
from bookbuild.pages.toc import read_toc
from repository import ROOT

CHAPTERS = [page for page in (read_page(ROOT, name) for name in read_toc(ROOT)) if page.is_notebook]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("handout") / "out"
    assert main(["handout", "--out", str(folder), "--root", str(ROOT)]) == 0
    return folder


def sources(path: Path) -> str:
    return "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])


def said(text: str) -> list[str]:
    """The lines of an answer that its box, its code and its glued numbers leave."""
    lines = re.sub(r"^(:::|```|:[a-z]+:|\+\+\+).*$", "", text, flags=re.MULTILINE).splitlines()
    parts = [part for line in lines for part in re.split(r"\{[a-z:]+\}`[^`]*`", line)]
    return [part.strip() for part in parts if len(part.strip()) > 12]


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_no_answer_is_handed_out_and_none_is_lost(page: Page, folder: Path) -> None:
    handed, solved = sources(folder / f"{page.name}.ipynb"), sources(folder / "solutions" / "solutions.ipynb")
    assert len(answers(page)) == len(re.findall(r"^:::\{solution(-start)?\}", page.text, flags=re.MULTILINE))
    for answer in answers(page):
        assert said(answer.text)
        for line in said(answer.text):
            assert line not in handed
            assert line in solved
    assert "solution" not in handed.lower().replace("dissolution", "")
    asked = re.findall(r"^\*\*Exercise \(\d+ minutes, (?:easy|medium|hard)\)\.\*\*$", handed, flags=re.MULTILINE)
    assert len(asked) == len(re.findall(r"^:::\{exercise(-start)?\}", page.text, flags=re.MULTILINE))


def test_no_text_holds_a_role_and_the_bank_of_questions_no_answer(folder: Path) -> None:
    texts = {path: sources(path) for path in folder.glob("**/*.ipynb")}
    texts |= {path: path.read_text(encoding="utf-8") for path in folder.glob("**/*.md") if "data" not in path.parts}
    assert len(texts) > 40
    roles = {
        path.name: re.findall(r"\{(?:glue|doc|cite|term|eq|ref|numref)[:a-z]*\}`", text) for path, text in texts.items()
    }
    assert {name: found for name, found in roles.items() if found} == {}
    reasons = [answer.text for answer in answers(read_page(ROOT, "questions"))]
    assert len(reasons) == 20
    asked, solved = (texts[folder / name] for name in ("questions.md", "solutions/questions.md"))
    for reason in reasons:
        for line in said(reason):
            assert line not in asked
            assert line in solved


def test_links_and_data_are_where_they_say(folder: Path) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in folder.glob("**/*.md") if "data" not in path.parts}
    texts |= {path: sources(path) for path in folder.glob("**/*.ipynb")}
    for path, text in texts.items():
        for link in re.findall(r"\]\(((?!https?:|#)[^)#\s]+)", text):
            assert (path.parent / link).is_file(), f"{path.relative_to(folder)}: {link}"
    for path in folder.glob("**/*.ipynb"):
        for named in re.findall(r"""["'](\.\./[\w./-]+)["']""", sources(path)):
            assert (path.parent / named).exists(), f"{path.name}: {named}"
    assert (folder / "data" / "runs" / "isoflop.csv").read_bytes() == (ROOT / "data/runs/isoflop.csv").read_bytes()


def test_the_solutions_hold_no_cell_that_needs_what_only_its_chapter_has_computed(folder: Path) -> None:
    notebook = json.loads((folder / "solutions" / "solutions.ipynb").read_text(encoding="utf-8"))
    assert {cell["cell_type"] for cell in notebook["cells"]} == {"markdown"}
    assert "```python\nchapter.worst_batches(timings)\n```" in sources(folder / "solutions" / "solutions.ipynb")


def test_an_older_handout_is_replaced_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    write_handout(ROOT, folder)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BookError, match="expected an empty folder or an older handout"):
        write_handout(ROOT, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]


@pytest.mark.parametrize(
    "box",
    [
        ":::{solution-start} a\n:class: dropdown\n:::\nIt is seven.\n:::{solution-end}\n:::\n",
        "::::{solution} a\nIt is seven.\n\n:::{note}\nx\n:::\n::::\n",
        ":::{dropdown} Answer\nIt is seven.\n:::\n",
        ":::{admonition} Solution of the first\n:class: dropdown\nIt is seven.\n:::\n",
        "```{code-cell} ipython3\n:tags: [remove-cell]\n\nglue(**chapter.solution_numbers(7))\n```\n",
    ],
)
def test_every_shape_of_answer_is_left_out(box: str) -> None:
    page = Page("x", f"Before.\n\n{box}\nAfter.\n", {})
    assert without_answers(page).text.split() == ["Before.", "After."]
