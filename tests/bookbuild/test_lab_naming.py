"""The lab takes the columns for the same quantities as the commands do."""

import json
from typing import Any

import pandas as pd
import pytest

from bookbuild.lab.laws import written_names
from bookbuild.lab.scripts import HERE
from importing.column_names import NAMES, OTHERS
from moelaws.importing.matching import matched
from moelaws.importing.preset import names, presets

pytestmark = pytest.mark.browser


def test_the_lab_takes_columns_as_the_commands_do(browser: Any) -> None:
    script = "".join((HERE / "page" / name).read_text(encoding="utf-8") for name in ("naming.js", "table.js"))
    known = "".join(f"const {name} = {json.dumps(value)};" for name, value in written_names().items())
    page = browser.new_page()
    found = page.evaluate(
        f"""(names) => {{ {known} {script}
        return names.map((name) => Object.entries(matchedColumns({{ names: ["other", name], cells: [["1", "2"]],
            places: new Map([["other", 0], [name, 1]]) }})).map(([ours, {{ factor }}]) => [ours, factor])); }}""",
        said := [*(name for line in NAMES.values() for name in line.split("|")), *OTHERS.split("|")],
    )
    page.close()
    for name, pairs in zip(said, found, strict=True):
        rename = matched(pd.DataFrame({"other": ["1"], name: ["2"]}), presets()["auto"]).rename
        expected = {ours: _factor(source) for ours, source in rename.items() if ours in names()}
        assert {ours: pytest.approx(factor) for ours, factor in pairs} == expected, name


def _factor(source: str) -> float:
    _, times, factor = source.rpartition(" * ")
    return float(factor) if times else 1.0
