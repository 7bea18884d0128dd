"""The lab's scripts, put together: the engine, which a worker runs as well, and the page's own."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from bookbuild.lab.laws import written_columns, written_laws, written_names, written_reading, written_status
from moelaws import __version__

HERE = Path(__file__).resolve().parent
FOLDER = "_static/lab"
EXAMPLE = "data/runs/isoflop.csv"
"""A table to try the lab with, where a book has it."""

_KEPT = (
    "status", "loss", "total_params", "active_params", "tokens", "n_experts", "top_k", "sparsity", "train_flops",
    "budget", "seed",
)  # fmt: skip
_ANSWERS = (
    "fit", "bestAt", "predict", "lawNamed", "lawFromFormula", "parse", "namesOf", "canPlan", "bind", "LabError", "LAWS",
    "COLUMNS", "STATUS", "FAMILIES",
)  # fmt: skip


def engine_script() -> str:
    """The engine: one function that holds the laws and all that is done with them.

    One function, because a page that was opened from a file may load no script into a worker: it hands the worker this
    function's own text.
    """
    known = {
        "VERSION": __version__,
        "LAWS": written_laws(),
        "COLUMNS": written_columns(),
        "STATUS": written_status(),
    }
    written, answers = _consts(known), ", ".join(_ANSWERS)
    return f'function moelawsEngine() {{\n"use strict";\n{written}{_text("engine")}\nreturn {{ {answers} }};\n}}\n'


def page_script() -> str:
    """The page's own script: forms, tables and pictures."""
    known = _consts(written_names() | written_reading())
    return f'(function () {{\n"use strict";\n{known}{_text("page")}\n}})();\n'


def example_script(root: Path) -> str:
    """The example, as a script: a page that was opened from a file can read no other file.

    Arguments:
        root: folder of the book.
    """
    path = root / EXAMPLE
    if not path.is_file():
        return ""
    runs = pd.read_csv(path)
    return f"window.moelawsExample = {_json(runs[[*_KEPT]].to_csv(index=False))};\n"


def install_lab(site: Path, root: Path) -> None:
    """Write the scripts and the style into a built site.

    After the build, because Jupyter Book loads every script that it finds in `_static` on every page.

    Arguments:
        site: folder of the built site.
        root: folder of the book.
    """
    folder = site / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "engine.js").write_text(engine_script(), encoding="utf-8")
    (folder / "lab.js").write_text(example_script(root) + page_script(), encoding="utf-8")
    (folder / "lab.css").write_text((HERE / "lab.css").read_text(encoding="utf-8"), encoding="utf-8")


def _consts(values: dict[str, Any]) -> str:
    return "".join(f"const {name} = {_json(value)};\n" for name, value in values.items())


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")).replace("</", "<\\/")


def _text(folder: str) -> str:
    """The files of a folder, in the order of their names: functions may be used before they are written."""
    paths = sorted((HERE / folder).glob("*.js"))
    return "".join(f"\n// {path.name}\n{path.read_text(encoding='utf-8')}" for path in paths)
