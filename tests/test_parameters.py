"""Values for a chapter's parameters cell: unknown names are refused, texts become lists and numbers."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from moelaws.parameters import ParameterError, assigned, check_parameters, matched
from repository import ROOT
from small_sweep import with_tests

CHAPTERS = sorted((ROOT / "chapters").glob("[a-z]*.ipynb"))


def notebook(defaults: str, injected: str) -> dict[str, Any]:
    """The namespace of a notebook in which papermill has set something."""
    namespace: dict[str, Any] = {"In": ["", defaults, f"# Parameters\n{injected}\n", "check_parameters(globals())"]}
    for cell in namespace["In"][1:3]:
        exec(cell, namespace)
    return namespace


def test_lists_come_as_text_and_as_lists() -> None:
    given = 'choices = "[1, 2, 4]"\nonly = "[a, b]"\nvalues = [3]\nheld_out = "[1e13, 2e12]"\npair = "1, 2"'
    found = notebook("choices = [8]\nonly = []\nvalues = [1.5]\nheld_out = [1e13]\npair = (0, 0)", given)
    check_parameters(found)
    assert found["choices"] == [1, 2, 4]
    assert found["only"] == ["a", "b"]
    assert found["values"] == [3]
    assert found["held_out"] == [1e13, 2e12]
    assert found["pair"] == [1, 2]


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        ("2e9", 1.0, 2e9),
        ("8", 1, 8),
        (1e3, 1, 1000),
        ("[1, 2]", None, [1, 2]),
        ("a word", None, "a word"),
        (None, None, None),
        ("True", False, True),
        ("{'a': 1}", {}, {"a": 1}),
        (2024, "sotu", "2024"),
        (["8", 16], [1, 2], [8, 16]),
    ],
)
def test_a_value_takes_the_type_of_the_default(value: Any, default: Any, expected: Any) -> None:
    found = matched("x", value, default)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "default", "said"),
    [
        ("many", 1.0, "'x' to 'many'; expected a number, like its own value 1.0"),
        (True, 1, "'x' to True; expected a number"),
        ([1], 1, r"'x' to \[1\]; expected a number"),
        (4, [1, 2], "'x' to 4; expected a list"),
        ("four", [1, 2], "'x' to 'four'; expected a list"),
        ("[1, 'b']", [1, 2], "'x' to 'b'; expected a number"),
        (1, True, "'x' to 1; expected True or False"),
        ([1], "text", "expected text, like its own value 'text'"),
        ("[" * 10_000, [1], "expected a list"),
    ],
)
def test_a_value_of_another_kind_is_refused_in_a_sentence(value: Any, default: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said) as caught:
        matched("x", value, default)
    assert len(str(caught.value)) < 400


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    found = notebook("n_experts = 8\ntop_k = 1", "n_expert = 4")
    with pytest.raises(ParameterError, match=r"'n_expert': the parameters cell .* it has 'n_experts', 'top_k'"):
        check_parameters(found)


def test_without_papermill_nothing_is_looked_at() -> None:
    check_parameters({"n_experts": "changed by hand"})
    check_parameters({"In": ["", "a = 1", "b = 2"], "a": 1})


def test_the_last_values_count_in_a_notebook_that_is_run_again() -> None:
    found = notebook("a = 1", "a = '2'")
    found["In"] += ["a = 1", "# Parameters\na = '3'\n"]
    found["a"] = "3"
    check_parameters(found)
    assert found["a"] == 3


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_checks_before_it_does_anything(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells[0].metadata.tags == ["parameters"]
    assert assigned(cells[0].source)
    statements = ast.parse(cells[1].source).body
    first = next(node for node in statements if not isinstance(node, ast.Import | ast.ImportFrom))
    assert ast.unparse(first) == "ml.check_parameters(globals())"


def papermill(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "papermill", "--no-progress-bar", *arguments]
    return subprocess.run(
        line, cwd=folder, env=with_tests() | {"PYTHONWARNINGS": "ignore"}, capture_output=True, text=True, timeout=250,
        check=False,
    )  # fmt: skip


def test_the_case_of_a_list_after_p(tmp_path: Path) -> None:
    given = ("laws_side_by_side.ipynb", str(tmp_path / "out.ipynb"), "-p", "choices", "[1, 2, 4]")
    done = papermill(*given, folder=ROOT / "chapters")
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_case_of_a_name_misspelt(tmp_path: Path) -> None:
    given = ("--cwd", "chapters", "chapters/counting.ipynb", str(tmp_path / "out.ipynb"), "-p", "n_expert", "8")
    done = papermill(*given)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ParameterError: 'n_expert': the parameters cell of this chapter has no such name; it has")
    assert "'n_experts'" in last
