"""What a page may show: charts with words for those who cannot see them, no warnings, no paths of the machine."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXCUSED = {"remove-output", "remove-cell", "remove-stderr"}
"""Tags of cells whose standard error never reaches the page."""


_CUT = re.compile(r"\w ?\.\.\.</t[dh]>")


def draw_charts(page: str, notebook: Any) -> str | None:
    """Draw the charts that the kernel of a chapter has left undrawn: here, Vega starts once for many chapters.

    Arguments:
        page: page name, for the message.
        notebook: the executed chapter, whose outputs are completed.

    Returns:
        Chapter, cell and Vega's complaint, None where there is none.
    """
    from moelaws.charts.offline import draw_output

    numbers = cell_numbers(notebook)
    for index, number in numbers.items():
        for output in notebook.cells[index].outputs:
            try:
                draw_output(output.get("data", {}))
            except ValueError as error:
                return f"{page}.md: cell {number}/{len(numbers)} shows a chart that cannot be drawn: {str(error)[:600]}"
    return None


def objections(page: str, notebook: Any, root: Path) -> list[str]:
    """Find what an executed chapter should not show.

    Arguments:
        page: page name, for the messages.
        notebook: the executed chapter.
        root: folder of the book, which must not appear on a page (nor the reader's home).

    Returns:
        One sentence for each finding, with chapter and cell.
    """
    numbers = cell_numbers(notebook)
    found = []
    for index, number in numbers.items():
        cell = notebook.cells[index]
        where = f"{page}.md: cell {number}/{len(numbers)}"
        found += [f"{where} {what}" for what in _findings(cell, root)]
    return found


def _findings(cell: Any, root: Path) -> Iterator[str]:
    excused = EXCUSED.intersection(cell.metadata.get("tags", []))
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr" and not excused:
            yield f"wrote to standard error: {output.text.strip().splitlines()[:1]}; readers would take it for a fault"
        data = output.get("data", {})
        for kind, content in data.items():
            if kind.startswith("application/vnd.vegalite") and not content.get("description"):
                yield "shows a chart without words: give it a description (`.properties(description=...)`)"
            if kind.startswith("application/vnd.jupyter.widget"):
                yield "shows a Jupyter widget, which works only beside a running kernel; use a chart parameter instead"
        html = data.get("text/html", "")
        if "vegaEmbed" in html:
            yield "shows a chart that loads its scripts from elsewhere; call moelaws.charts.enable() before it"
        if "<table" in html and _CUT.search(html):
            yield "shows a table whose sentences pandas has cut (...); show it by howmany.page.html"
        text = output.get("text", "") + "".join(str(c) for kind, c in data.items() if kind.startswith("text/"))
        for path in {str(root), str(Path.home())} - {"/", "/root"}:
            if path in text:
                yield f"shows a path of this machine: {path}"


def cell_numbers(notebook: Any) -> dict[int, int]:
    """Number the code cells as the author counts them: from 1, without the cell that papermill injects.

    Returns:
        Index into `notebook.cells` -> number.
    """
    code = [
        index
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    return {index: number for number, index in enumerate(code, start=1)}
