"""The document printed by a headless Chromium, twice: the first print says on which sheet each page begins."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bookbuild.error import BookError
from bookbuild.printing.charts import drawn_charts
from bookbuild.printing.leaves import Cover, Part, anchor, document
from moelaws.files import write_whole

if TYPE_CHECKING:
    from pypdf import PdfReader

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

_FOOT = (
    '<div style="font: 8px sans-serif; width: 100%; text-align: center; color: #57606a">'
    '<span class="pageNumber"></span></div>'
)
_LONGEST_MS = 600_000

SHEET_PX = 665
"""Pixels between the margins of a sheet: 176 mm."""

FIT = """
() => {
  for (const wide of document.querySelectorAll('table, div.math, math[display="block"], img, svg')) {
    const room = wide.closest('.bd-article, .cover, td, li, dd, .admonition').clientWidth;
    const width = Math.max(wide.scrollWidth || 0, wide.getBoundingClientRect().width);
    if (room && width > room + 1) wide.style.zoom = Math.max(0.4, (room / width) * 0.99);
  }
}
"""
"""Makes smaller what would run off a sheet: wide tables and formulas."""


@dataclass(frozen=True)
class Printed:
    """A printed book.

    Arguments:
        path: the PDF.
        sheets: how many it has.
        begins: page name -> the sheet it begins on, from 1.
    """

    path: Path
    sheets: int
    begins: Mapping[str, int]


def print_book(site: Path, parts: Sequence[Part], cover: Cover, out: Path) -> Printed:
    """Print a built site into one PDF with page numbers, links within it and an outline.

    Arguments:
        site: folder of the built site.
        parts: which pages, in which order.
        cover: the first sheet.
        out: the PDF to write; an old one stays whole until the new one is.

    Raises:
        BookError: a page is missing, or there is no Chromium.
    """
    names = [name for part in parts for name in part.pages]
    with tempfile.TemporaryDirectory(prefix="print-") as folder, chromium() as browser:
        text, pdf = Path(folder) / "book.html", Path(folder) / "book.pdf"
        charts = drawn_charts(browser, site, names)
        text.write_text(document(site, parts, cover, charts), encoding="utf-8")
        _print(browser, text, pdf)
        begins = sheets_of(pdf, names)
        text.write_text(document(site, parts, cover, charts, begins), encoding="utf-8")
        _print(browser, text, pdf)
        if sheets_of(pdf, names) != begins:
            raise BookError("the contents say other page numbers than the pages have: the prints differ")
        count = len(_reader(pdf).pages)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, pdf.read_bytes())
    return Printed(out, count, begins)


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium of this machine.

    Raises:
        BookError: there is none, or nothing that drives it.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise BookError(
            "playwright is not installed; it drives the browser that prints: pip install playwright"
        ) from None
    program = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if program is None:
        raise BookError(f"no browser to print with: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as driver:
        # Containers and CI run as root, where Chromium's sandbox cannot; the pages are our own files.
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def sheets_of(pdf: Path, names: Sequence[str]) -> dict[str, int]:
    """On which sheet each page begins, by the places that links lead to."""
    reader = _reader(pdf)
    places = reader.named_destinations
    found = {}
    for name in names:
        place = places.get(anchor(name)) or places.get(f"/{anchor(name)}")
        if place is None:
            raise BookError(f"{name}: no place in the print; its entry in the contents leads nowhere")
        found[name] = (reader.get_destination_page_number(place) or 0) + 1
    return found


def _reader(pdf: Path) -> "PdfReader":
    from pypdf import PdfReader

    return PdfReader(pdf)


def _print(browser: Any, text: Path, pdf: Path) -> None:
    # No script has to run: charts are images, formulas MathML.
    context = browser.new_context(java_script_enabled=False, color_scheme="light", offline=True)
    try:
        page = context.new_page()
        page.set_default_timeout(_LONGEST_MS)
        page.set_viewport_size({"width": SHEET_PX, "height": 980})
        page.emulate_media(media="print")
        page.goto(text.as_uri())
        page.evaluate(FIT)
        page.pdf(
            path=str(pdf),
            prefer_css_page_size=True,
            print_background=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=_FOOT,
            outline=True,
            tagged=True,
        )
    finally:
        context.close()
