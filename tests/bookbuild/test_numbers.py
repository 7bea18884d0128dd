"""The values that a build glued: read from executed notebooks, and held against those of another build."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from bookbuild.command import main
from bookbuild.error import BookError
from bookbuild.numbers import differences, glued_numbers, read_numbers


def glued(name: str, **data: str) -> object:
    kinds = {kind.replace("_", "/"): text for kind, text in data.items()}
    return new_output("display_data", data=kinds, metadata={"scrapbook": {"name": name, "mime_prefix": ""}})


def executed(root: Path, key: str, *outputs: object) -> None:
    path = root / "_build" / "executed" / "full" / "chapters" / f"one.{key}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell(outputs=list(outputs))]), path)


def test_values_are_read_and_pictures_are_not(tmp_path: Path) -> None:
    plain = new_output("display_data", data={"text/plain": "seen"})
    picture = glued("p", text_plain="Chart", image_png="")
    executed(tmp_path, "a", glued("x", text_plain="1.25"), picture, plain)
    assert glued_numbers(tmp_path / "_build" / "executed" / "full") == {"chapters/one": {"x": "1.25"}}


def test_a_last_digit_that_moved_is_said_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "_toc.yml").write_text("")
    executed(tmp_path, "a", glued("x", text_plain="1.25"), glued("y", text_plain="2"))
    before = tmp_path / "before.json"
    command = ["numbers", "--root", str(tmp_path)]
    assert main([*command, "--write", str(before)]) == 0
    assert main([*command, "--against", str(before)]) == 0
    executed(tmp_path, "a", glued("x", text_plain="1.26"), glued("z", text_plain="3"))
    assert main([*command, "--against", str(before)]) == 1
    said = capsys.readouterr().out
    assert "chapters/one: x was 1.25, is 1.26" in said
    assert "chapters/one: y was 2, is absent" in said
    assert "3 differ" in said


def test_nothing_built_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="build the book first"):
        glued_numbers(tmp_path)
    foreign = tmp_path / "x.json"
    foreign.write_text("[1]")
    with pytest.raises(BookError, match="expected numbers"):
        read_numbers(foreign)
    (tmp_path / "_toc.yml").write_text("")
    executed(tmp_path, "a", glued("x", text_plain="1.25"))
    assert main(["numbers", "--root", str(tmp_path), "--write", str(foreign)]) == 1
    assert foreign.read_text() == "[1]"
    ours = tmp_path / "ours.json"
    for _ in range(2):
        assert main(["numbers", "--root", str(tmp_path), "--write", str(ours)]) == 0
    assert read_numbers(ours) == {"chapters/one": {"x": "1.25"}}
    assert differences({}, {"a": {"k": "1"}}) == ["a: k was absent, is 1"]
