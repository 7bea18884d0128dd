"""One page for a run table: public ``report``."""

import hashlib
import platform
import shlex
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

from moelaws.files import check_beginning, write_whole
from moelaws.provenance import code_version
from moelaws.quote import plain
from moelaws.reporting.analyses import Analyses, ReportOptions, analyses_of
from moelaws.reporting.data_sections import noise_section, table_section
from moelaws.reporting.law_sections import (
    gain_section,
    laws_section,
    open_section,
    optimum_section,
    surface_section,
)
from moelaws.reporting.methods import methods_section
from moelaws.reporting.next_section import next_section
from moelaws.reporting.page import BEGINNING, page_of
from moelaws.reporting.page_parts import Section, Table
from moelaws.runs import load_runs
from moelaws.stages import stage

_PACKAGES = ("numpy", "scipy", "pandas", "altair")


@dataclass(frozen=True)
class About:
    """Where a table comes from.

    Attributes:
        name: of its file.
        sha256: of its bytes; empty for a table that was no file.
        command: that made the page.
        notes: what does not agree in the table, a sentence each.
    """

    name: str = "runs"
    sha256: str = ""
    command: str = "moelaws.report(runs)"
    notes: tuple[str, ...] = ()

    @classmethod
    def of_file(cls, path: Path, command: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> "About":
        """What is to be said of a file, or of a folder of runs."""
        line = shlex.join(command) if command else f"moelaws.report({path.name!r})"
        if path.is_dir():
            return cls(plain(path.resolve().name, 120), "", plain(line, 2000), notes)
        with path.open("rb") as file:
            return cls(plain(path.name, 120), hashlib.file_digest(file, "sha256").hexdigest(), plain(line, 2000), notes)


@dataclass(frozen=True)
class Report:
    """A page about a run table; in a notebook it is ``html``.

    Attributes:
        html: the page, whole: it loads nothing.
        sections: its parts.
        analyses: what they are made from.
    """

    html: str
    sections: tuple[Section, ...]
    analyses: Analyses

    def save(self, path: str | Path) -> None:
        """Write the page.

        Args:
            path: where. A file is replaced only if it is empty or such a page.

        Raises:
            FileExistsError: a file of somebody's.
            OSError: the place cannot be written to.
        """
        check_beginning(Path(path), BEGINNING)
        write_whole(Path(path), self.html)


def report(
    runs: pd.DataFrame | str | Path,
    out: str | Path | None = None,
    options: ReportOptions | None = None,
    about: About | None = None,
) -> Report:
    """One page for a run table, to be sent to a colleague: it opens without a network, on a telephone, and prints.

    It says what is in the table (with a picture of the design), how much is chance, what the losses are at equal
    compute, what experts are worth, which law foresees best, the best model under a budget, what the runs leave open,
    what to run next, how all that was found and from what. A question without an answer says why in its place.

    Args:
        runs: a run table, or the path of one.
        out: where to write the page; what is there is replaced only if it is such a page.
        options: how much is asked.
        about: where the table comes from; made from the path, where one is given.

    Returns:
        The page.

    Raises:
        RunTableError: a file that is no run table.
        FileExistsError: ``out`` is a file of somebody's.

    Examples:
        >>> size = np.tile(np.geomspace(1e7, 1e9, 6), 3)
        >>> flops = np.repeat([1e18, 1e19, 1e20], 6)
        >>> loss = 1.7 + 400 / size**0.34 + 410 / (flops / 6 / size) ** 0.28
        >>> made = report(pd.DataFrame({"loss": loss, "total_params": size, "train_flops": flops}))
        >>> made.sections[0].finding
        '18 runs, all finished. They lie at 3 budgets, from 1e+18 to 1e+20 FLOPs.'
    """
    options = options or ReportOptions()
    if out is not None:
        check_beginning(Path(out), BEGINNING)
    if not isinstance(runs, pd.DataFrame):
        loaded = load_runs(runs)
        about = about or About.of_file(Path(runs), notes=loaded.notes)
        runs = loaded.runs
    about = about or About()
    found = analyses_of(runs, options)
    with stage("drawing the page"):
        sections = (
            table_section(found, about.notes),
            noise_section(found),
            surface_section(found),
            gain_section(found),
            laws_section(found),
            optimum_section(found),
            open_section(found),
            next_section(found),
            methods_section(found, options),
            _provenance(about, options),
        )
        html = page_of(about.name, _key_findings(sections), sections)
    made = Report(html, sections, found)
    if out is not None:
        made.save(out)
    return made


def _key_findings(sections: tuple[Section, ...]) -> list[tuple[str, str]]:
    """What stands at the head of the page: each section's anchor and its finding."""
    return [(each.key, each.finding) for each in sections if each.key not in ("methods", "provenance")]


def _provenance(about: About, options: ReportOptions) -> Section:
    rows = [
        ("table", about.name),
        ("its SHA-256", about.sha256 or "not a file"),
        ("made by", about.command),
        ("moelaws", code_version()),
        ("Python", f"{platform.python_version()} on {sys.platform}"),
        *((name, _version(name)) for name in _PACKAGES),
        ("refits, seed", f"{options.bootstrap}, {options.seed}"),
        ("made at", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
    table = Table.of(pd.DataFrame(rows, columns=["", "of this page"]))
    return Section("provenance", "Provenance", "The same table and versions give the same numbers.", (),
                   [replace(table, numbers=(False, False))])  # fmt: skip


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return str(getattr(np, "__version__", "")) if name == "numpy" else "unknown"
