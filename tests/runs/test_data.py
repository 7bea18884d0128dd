"""What data/README.md says, against what is there: fields, files, licences."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest

from moelaws.runs import COLUMNS, read_runs
from moelaws.runs.dictionary import BEGIN, END, field_table, main, with_field_table
from repository import ROOT

DATA = ROOT / "data"
README = (DATA / "README.md").read_text(encoding="utf-8")


def recorded_files() -> list[Path]:
    """The data files that belong to the book; tables a reader has put beside them are the reader's business."""
    try:
        done = subprocess.run(["git", "ls-files", "-z", "data"], cwd=ROOT, capture_output=True, text=True, check=True)
        names = [ROOT / name for name in done.stdout.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):  # not a clone
        names = [path for path in DATA.glob("**/*") if path.is_file()]
    return sorted(path for path in names if path.parent != DATA and path.suffix in {".csv", ".json", ".gz", ".yml"})


def section(path: Path) -> str:
    """The part of data/README.md under the heading of a file; empty where there is none."""
    _, _, rest = README.partition(f"\n### `{path.relative_to(DATA).as_posix()}`\n")
    return rest.split("\n## ")[0].split("\n### ")[0]


def rows(table: pd.DataFrame) -> str:
    """What a table holds, in the one line that data/README.md has for it."""

    def values(column: str, form: str = "d") -> str:
        return ", ".join(f"{value:{form}}" for value in sorted(table[column].dropna().unique()))

    budgets = f"budgets {found} FLOPs; " if (found := values("budget", "g")) else ""
    experts = f"E = {values('n_experts')}; K = {values('top_k')}"
    return f"- **Rows**: {len(table)}; {budgets}{experts}; seeds {values('seed')}."


def epochs(table: pd.DataFrame) -> str:
    """How often the runs of a table read their text, in the one line that data/README.md has for it."""
    often = table["epochs"].dropna()
    ends = f"{often.min():.2g} to {often.max():.3g}"
    return f"- **Epochs**: {ends}; {int((often > 1).sum())} of {len(table)} runs read their text more than once."


def test_the_field_dictionary_is_the_schema():
    assert with_field_table(README) == README, "run: python -m moelaws.runs.dictionary data/README.md"


def test_every_column_has_a_row_with_unit_and_meaning():
    rows = [line.split(" | ") for line in field_table().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"| `{name}`" for name in COLUMNS]
    assert all(row[2].strip(" |") for row in rows)
    assert (
        "| `loss` | finite number > 0, nats/token | L, validation cross-entropy after the last step |" in field_table()
    )
    assert "| `loss_se` | finite number ≥ 0, nats/token, may be empty |" in field_table()
    assert "| `seed` | whole number ≥ 0 |" in field_table()


def test_every_data_file_is_described_with_origin_and_licence():
    for path in recorded_files():
        text = section(path)
        assert text, f"data/README.md: no section '### `{path.relative_to(DATA).as_posix()}`'"
        assert "**Made by**" in text, path
        assert "**Licence**: CC-BY-4.0" in text, path


def test_every_recorded_table_keeps_to_the_dictionary():
    for path in recorded_files():
        if path.parent.name == "runs":
            table = read_runs(path)
            assert set(table.columns) <= set(COLUMNS), path
            assert table["run_id"].is_unique, path
            for line in (rows(table), epochs(table)):
                assert line in section(path), f"data/README.md, {path.name}: expected the line {line!r}"


def test_no_text_denies_what_the_tables_hold():
    """Runs that read their text more than once are there; no page may say that there are none."""
    repeated = sum(
        int((read_runs(path)["epochs"] > 1).sum()) for path in recorded_files() if path.parent.name == "runs"
    )
    assert repeated, "no run reads its text twice any more: the sentences of chapters/isoflop.md say that some do"
    for page in [*(ROOT / "chapters").glob("*.md"), *ROOT.glob("*.md"), DATA / "README.md"]:
        text = page.read_text(encoding="utf-8")
        for denial in ("no run reads them twice", "no run of the study reads", "nothing is read twice"):
            assert denial not in text, f"{page.relative_to(ROOT)}: {denial!r}, but {repeated} recorded runs do"


def test_a_stale_dictionary_is_replaced_and_the_rest_kept(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(f"# Above\n\n{BEGIN}\nold\n{END}\n\nBelow\n", encoding="utf-8")
    assert main([str(page)]) == 0
    assert page.read_text(encoding="utf-8") == f"# Above\n\n{BEGIN}\n\n{field_table()}\n{END}\n\nBelow\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "found it 0 times"), (f"{BEGIN}{BEGIN}{END}", "found it 2 times"), (f"{END}\n{BEGIN}", "found it before")],
)
def test_missing_markers_are_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    assert main([str(page)]) == 1
    assert message in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == text
