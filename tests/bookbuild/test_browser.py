"""The built pages as readers meet them: in a browser, without a network, on a phone, without scripts."""

import base64
import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import altair as alt
import pandas as pd
import pytest
from layout import BEYOND, MISPLACED

from bookbuild.printing.leaves import Cover, Part, document
from bookbuild.printing.paper import FIT, SHEET_PX
from books import left_out, pages_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

CHART = 'class="chart"'
DRAWN = "() => [...document.querySelectorAll('div.chart')].every(c => c.dataset.state)"
MARKS = """
() => [...document.querySelectorAll('div.chart')].map(chart => ({
  state: chart.dataset.state,
  marks: chart.querySelectorAll('svg.marks path, svg.marks text, svg.marks rect').length,
  label: (chart.querySelector('.chart-view').getAttribute('aria-label') || '').length,
  width: chart.getBoundingClientRect().width,
}))
"""
FORMULAS = """
() => [...document.querySelectorAll('math')].map(formula => ({
  said: formula.getAttribute('alttext'),
  height: formula.getBoundingClientRect().height,
  shown: formula.checkVisibility({visibilityProperty: true}),
}))
"""
ICONS = """
() => [...document.querySelectorAll('[class*="fa-"]')].filter(
  icon => icon.tagName !== 'svg' ? !icon.querySelector('svg path') : !icon.querySelector('path[d]'),
).map(icon => icon.getAttribute('class'))
"""
SEEN = """
async picture => {
  const bytes = Uint8Array.from(picture.match(/../g), byte => parseInt(byte, 16));
  const image = await createImageBitmap(new Blob([bytes], {type: 'image/png'}));
  const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
  canvas.drawImage(image, 0, 0);
  return [...canvas.getImageData(3, image.height / 2, 1, 1).data].slice(0, 3);
}
"""
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""The rules of which a page may break another one in the dark: any other sees the same page."""

RESULTS = "() => document.querySelectorAll('#search-results li a').length"
SEARCHED = "() => /found|did not match/.test(document.querySelector('#search-results').innerText)"
SERIOUS = """
async rules => (await axe.run(document, {resultTypes: ['violations'], ...rules})).violations
  .filter(each => ['serious', 'critical'].includes(each.impact))
  .flatMap(each => each.nodes.map(node => `${each.id}: ${node.html.slice(0, 120)}`))
"""


@pytest.fixture(params=["small_site", "book_site"])
def site(request: pytest.FixtureRequest) -> Path:
    """Both books: the small one holds one of each kind, the real one is what readers get."""
    return request.getfixturevalue(request.param)


def to_open(site: Path, config: pytest.Config, step: int = 3) -> list[Path]:
    """The pages that a browser opens: all of the small book and of a site with ``--site``; of others every third or so.

    A page takes a browser a second, and ``make check-site`` opens each. Front page and lab are always among them.
    """
    pages = pages_of(site)
    if config.getoption("site") or (site / "tables.html").is_file():
        return pages
    return sorted({*pages[1::step], site / "index.html", site / "lab.html"})


Tab = tuple[Any, list[str]]


@pytest.fixture(scope="module")
def tabs(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Tabs without network, one of each kind: what went wrong is listed. Each would compile the charts' script anew."""
    contexts: list[Any] = []

    @cache
    def tab(**options: Any) -> Tab:
        contexts.append(browser.new_context(offline=True, **options))
        page, faults = contexts[-1].new_page(), []
        page.on("request", lambda request: note_request(request, faults))
        page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
        page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
        page.on("console", lambda message: message.type == "error" and faults.append(f"console: {message.text}"))
        return page, faults

    yield tab
    for context in contexts:
        context.close()


@contextmanager
def opened(tabs: Callable[..., Tab], viewport: dict[str, int], **options: Any) -> Iterator[Tab]:
    """A tab of this size and kind, and the list of everything that goes wrong in it."""
    page, faults = tabs(**{"color_scheme": "light"} | options)
    page.set_viewport_size(viewport)
    try:
        yield page, faults
    finally:
        page.goto("about:blank")
        page.emulate_media(media="null")
        faults.clear()


def note_request(request: Any, faults: list[str]) -> None:
    if not request.url.startswith(("file:", "data:", "blob:")):
        faults.append(f"asks another host: {request.url}")


@dataclass
class Visit:
    """What was found on the pages of a site, each opened once: loading and drawing is what takes long.

    Attributes:
        drawn: what is wrong with charts, formulas and icons, or with the page altogether.
        width: what a reader would have to scroll sideways for, or cannot read.
        sliders: what is wrong with them.
        charts, formulas, moved: how many there are, of the last sliders.
    """

    drawn: list[str] = field(default_factory=list)
    width: list[str] = field(default_factory=list)
    sliders: list[str] = field(default_factory=list)
    charts: int = 0
    formulas: int = 0
    moved: int = 0


# The small book holds one of each kind, which is looked at on both screens; the real one on the narrow one.
@pytest.fixture(
    scope="module", params=[("small_site", DESK), ("small_site", PHONE), ("book_site", PHONE)],
    ids=["small_site-desk", "small_site-phone", "book_site-phone"],
)  # fmt: skip
def visit(request: pytest.FixtureRequest, tabs: Callable[..., Tab]) -> Visit:
    """A book as its readers meet it without a network: what is drawn, how wide it is, then what its sliders do."""
    name, screen = request.param
    site, found = request.getfixturevalue(name), Visit()
    # A telephone at night, a desk by day.
    with opened(tabs, screen, color_scheme="light" if screen is DESK else "dark") as (page, faults):
        for path in to_open(site, request.config):
            name = path.relative_to(site).as_posix()
            page.goto(path.as_uri())
            page.wait_for_function(DRAWN, timeout=20_000)
            note_drawings(page, name, found)
            found.width += [f"{name}: {words}" for words in too_wide(page)]
            ranges = page.locator("div.chart input[type=range]")
            for number in range(ranges.count()):
                found.moved += 1
                if not moves_its_chart(page, ranges.nth(number)):
                    found.sliders.append(f"{name}: slider {number + 1} moves nothing")
            found.drawn += [f"{name}: {fault}" for fault in faults]
            faults.clear()
    return found


def note_drawings(page: Any, name: str, found: Visit) -> None:
    """Look at the charts, formulas and icons of a page."""
    for number, chart in enumerate(page.evaluate(MARKS), start=1):
        found.charts += 1
        if chart["state"] != "drawn" or chart["marks"] < 3 or chart["label"] < 10:
            found.drawn.append(f"{name}: chart {number}: {chart}")
    for formula in page.evaluate(FORMULAS):
        found.formulas += 1
        if not formula["said"] or (formula["shown"] and formula["height"] < 5):
            found.drawn.append(f"{name}: formula {formula}")
    if missing := page.evaluate(ICONS):
        found.drawn.append(f"{name}: icons without a drawing: {missing}")


def too_wide(page: Any) -> Iterator[str]:
    """What a reader would have to scroll sideways for, or cannot read."""
    misplaced = page.evaluate(MISPLACED)
    if page.url.endswith("/tables.html"):  # the small book has a table that is wider than any screen
        misplaced = [words for words in misplaced if not words.startswith("scrolls: <table>")]
    yield from misplaced
    small = page.evaluate(
        """() => [...document.querySelectorAll('div.chart svg.marks')].map(svg =>
             svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"""
    )
    # Labels are 12 pixels in the chart's own measure.
    yield from (f"labels shrunk to {12 * s:.0f} pixels" for s in small if 12 * s < 9)


def moves_its_chart(page: Any, slider: Any) -> bool:
    """Whether the drawing is another one after a press of an arrow key."""
    drawing = slider.locator("xpath=ancestor::div[contains(@class, 'chart-view')]").locator("svg.marks")
    before, value = drawing.inner_html(), slider.input_value()
    slider.focus()
    page.keyboard.press("ArrowRight")
    if slider.input_value() == value:  # it stood at its upper end
        page.keyboard.press("ArrowLeft")
    deadline = time.monotonic() + 2
    while drawing.inner_html() == before:
        if time.monotonic() > deadline:
            return False
        page.wait_for_timeout(20)
    return True


def test_every_page_draws_its_charts_and_formulas_without_a_network(visit: Visit):
    assert visit.drawn == []
    assert visit.charts > 0
    assert visit.formulas > 0


def test_no_page_scrolls_sideways(visit: Visit):
    assert visit.width == []


def test_sliders_move_their_charts(visit: Visit, request: pytest.FixtureRequest):
    assert visit.sliders == []
    if "small_site" in request.node.name:
        assert visit.moved == 1


def test_without_scripts_each_chart_is_an_image(site: Path, tabs: Callable[..., Tab], pytestconfig: pytest.Config):
    """Shown by a browser, of a small book and with ``--site``; of this one, on three pages as on any."""
    pages = [path for path in to_open(site, pytestconfig) if CHART in path.read_text(encoding="utf-8")]
    shown = pages if pytestconfig.getoption("site") or (site / "tables.html").is_file() else pages[-3:]
    findings, charts = [], 0
    with opened(tabs, DESK, java_script_enabled=False) as (page, faults):
        for path in shown:
            name = path.relative_to(site).as_posix()
            page.goto(path.as_uri())
            for number in range(page.locator("div.chart").count()):
                charts += 1
                image = page.locator("div.chart").nth(number).locator("img.chart-image")
                box = image.bounding_box() if image.count() == 1 else None
                words = image.get_attribute("alt") if box else None
                if not box or box["height"] < 60 or not words:
                    findings.append(f"{name}: chart {number + 1}: image {box}, alt {words!r}")
            # Scripts that are announced and then not wanted count as failed requests; only other hosts matter here.
            findings += [f"{name}: {fault}" for fault in faults if fault.startswith("asks another host")]
            faults.clear()
    assert findings == []
    assert charts > 0


IMAGE = re.compile(
    r'<noscript><img class="chart-image" alt="([^"]+)" src="data:image/([a-z+]+);base64,([^"]+)"></noscript>'
)
STARTS = {"svg+xml": b"<svg", "png": b"\x89PNG"}


def test_each_chart_has_an_image_with_words(site: Path):
    """On every page: one behind each chart, of a kind that browsers show, and higher than a line."""
    findings, charts = [], 0
    for path in pages_of(site):
        text = path.read_text(encoding="utf-8")
        drawn, images = text.count(f"<div {CHART}>"), IMAGE.findall(text)
        charts += drawn
        if len(images) != drawn:
            findings.append(f"{path.name}: {drawn} charts, {len(images)} images")
        for words, kind, code in images:
            picture = base64.b64decode(code)
            height = re.search(rb'^<svg[^>]* height="([\d.]+)"', picture)
            high = float(height[1]) if height else int.from_bytes(picture[20:24])
            if not picture.startswith(STARTS[kind]) or high < 60:
                findings.append(f"{path.name}: {words[:60]}: {kind}, {high} pixels high")
    assert findings == []
    assert charts > 0


def test_charts_are_dark_in_dark_mode(small_site: Path, tabs: Callable[..., Tab]):
    """What a reader sees, not what the style says: a corner of a chart's paper, as dark as the page around it."""
    with opened(tabs, DESK, color_scheme="dark") as (page, faults):
        page.goto((small_site / "chapters" / "lines.html").as_uri())
        page.wait_for_function(DRAWN, timeout=20_000)
        assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
        paper = page.evaluate(SEEN, page.locator("div.chart").first.screenshot(type="png").hex())
        assert max(paper) < 50
        assert faults == []


def test_on_paper_nothing_is_cut(site: Path, tabs: Callable[..., Tab], tmp_path: Path, pytestconfig: pytest.Config):
    names = tuple(path.relative_to(site).with_suffix("").as_posix() for path in to_open(site, pytestconfig, step=6))
    paper = tmp_path / "paper.html"
    kept = tuple(name for name in names if name not in ("genindex", "search"))
    paper.write_text(document(site, [Part("", kept)], Cover("Book", ()), {}), encoding="utf-8")
    with opened(tabs, {"width": SHEET_PX, "height": 980}, java_script_enabled=False) as (page, faults):
        page.emulate_media(media="print")
        page.goto(paper.as_uri(), timeout=120_000)
        page.evaluate(FIT)
        assert page.evaluate(BEYOND) == []
        assert faults == []


class Addresses(HTMLParser):
    """The addresses that a page speaks of, and its own places.

    Attributes:
        said: where links, scripts and pictures lead to.
        places: what can stand behind the ``#`` of an address.
    """

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.said: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.places.add(found.get("id") or "")
        if tag in ("a", "link", "script", "img"):
            self.said.append(found.get("href") or found.get("src") or "")


def test_every_link_within_the_site_leads_somewhere(site: Path):
    """Also below a folder such as ``/moelaws/``: no address begins at the root of a host."""
    read = {path: Addresses(path) for path in pages_of(site)}
    elsewhere, findings = left_out(site), []
    for path, page in read.items():
        for address in page.said:
            if not address or urlsplit(address).scheme:
                continue
            there, fragment = urldefrag(address)
            target = (path.parent / unquote(urlsplit(there).path)).resolve() if there else path
            if there.startswith("/") or not target.is_relative_to(site):
                findings.append(f"{path.name}: {address} leaves the site")
            elif not target.is_file() and target not in elsewhere:
                findings.append(f"{path.name}: {address} is not there")
            elif fragment and target in read and fragment not in read[target].places:
                findings.append(f"{path.name}: {address} has no such place")
    assert findings == []


@pytest.fixture(params=["a file", "a folder of a host"])
def address(site: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a site is read: opened from its files, or served below ``/moelaws/``."""
    if request.param == "a file":
        yield site.resolve().as_uri()
        return
    (tmp_path / "moelaws").symlink_to(site.resolve(), target_is_directory=True)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/moelaws"
    server.shutdown()
    server.server_close()


def test_the_search_finds_prose_wherever_the_site_lies(address: str, site: Path, browser: Any):
    small = (site / "tables.html").is_file()
    said, only_code = ("phone", "binding") if small else ("sparsity", "verdict_table")
    context = browser.new_context(viewport=DESK)
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    page.on("console", lambda message: message.type == "error" and faults.append(f"console: {message.text}"))
    page.on("response", lambda answer: answer.status >= 400 and faults.append(f"{answer.status}: {answer.url}"))
    page.on("request", lambda sent: sent.url.startswith((address, "data:", "blob:")) or faults.append(sent.url))
    for word, found in ((said, True), (only_code, False)):
        page.goto(f"{address}/search.html?q={word}")
        page.wait_for_function(SEARCHED, timeout=20_000)
        assert (page.evaluate(RESULTS) > 0) is found, word
        if found:
            page.locator("#search-results li a").first.click()
            page.wait_for_function(DRAWN, timeout=20_000)
            assert page.url.startswith(address)
            assert word in page.locator("article").inner_text().lower()
    context.close()
    assert faults == []


@pytest.mark.timeout(1200)  # three minutes for the whole book on a quiet machine
@pytest.mark.parametrize("book", ["small_site", "whole_site"])
def test_assistive_technology_meets_nothing_serious(
    book: str, request: pytest.FixtureRequest, tabs: Callable[..., Tab]
):
    """By the rules of axe-core, on each page of the small book; on each of this one with ``make check-site``.

    There the pages are opened at a desk, so that is where it is seen that nothing is cut or lies on other words.
    """
    site: Path = request.getfixturevalue(book)
    axe = pytest.importorskip("axe_playwright_python")
    rules = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    findings = []
    for scheme in ("light", "dark"):
        with opened(tabs, DESK, color_scheme=scheme) as (page, _):
            for path in pages_of(site):
                page.goto(path.as_uri())
                page.wait_for_function(DRAWN, timeout=20_000)
                page.evaluate(rules)
                name = path.relative_to(site).as_posix()
                light = scheme == "light"
                faults = [*page.evaluate(SERIOUS, {} if light else COLOURS), *(too_wide(page) if light else ())]
                findings += [f"{name}, {scheme}: {fault}" for fault in faults]
    assert findings == []


def test_a_page_remembers_what_was_predicted(small_site: Path, tabs: Callable[..., Tab]):
    with opened(tabs, DESK) as (page, faults):
        page.goto((small_site / "chapters" / "bars.html").as_uri())
        field, recall = page.get_by_label("Your prediction"), page.locator(".prediction.recall")
        assert field.count() == 1
        assert recall.is_hidden()
        field.fill("the left one")
        assert "the left one" in recall.inner_text()
        recall.get_by_label("otherwise").check()
        page.reload()
        assert field.input_value() == "the left one"
        assert recall.get_by_label("otherwise").is_checked()
        # Asked for below what it is about: after the chart of its section.
        below = "() => document.querySelector('.recall').getBoundingClientRect().top"
        assert page.evaluate(below) > page.locator("div.chart").first.bounding_box()["y"]
        assert faults == []


PANELS = """
() => {
  const view = document.querySelector('.chart-view').getBoundingClientRect();
  const drawn = document.querySelector('svg.marks').getBoundingClientRect();
  const frames = document.querySelectorAll('svg :is(.role-cell, .role-scope) > g > path.background');
  const panels = [...frames]
    .map(panel => panel.getBoundingClientRect()).filter(box => box.width > 40);
  return {view: view.width, drawn: drawn.width, tops: panels.map(box => Math.round(box.top))};
}
"""


@pytest.mark.parametrize(("width", "in_a_row"), [(680, 4), (366, 2), (270, 1)])
@pytest.mark.parametrize("apart", [False, True], ids=["one axis", "an axis each"])
def test_small_panels_stand_side_by_side_as_far_as_there_is_room(
    width: int, in_a_row: int, apart: bool, small_site: Path, tabs: Callable[..., Tab], tmp_path: Path
):
    rows = pd.DataFrame([{"panel": f"panel {k}", "x": x, "y": x + k} for k in range(4) for x in range(3)])
    chart = alt.Chart(rows).mark_point().encode(x="x:Q", y="y:Q").properties(width=130, height=90)
    chart = chart.facet("panel:N", columns=2, title="What four panels say of one thing, in words for two lines")
    spec = json.dumps((chart.resolve_scale(y="independent") if apart else chart).to_dict())
    text = tmp_path / "panels.html"
    text.write_text(
        f'<article><div class="chart"><div class="chart-view" style="width: {width}px"></div>'
        f'<script type="application/json" class="chart-spec">{spec}</script></div></article>'
        f'<script src="{(small_site / "_static" / "charts.js").as_uri()}"></script>'
    )
    with opened(tabs, DESK) as (page, faults):
        page.goto(text.as_uri())
        page.wait_for_function(DRAWN, timeout=20_000)
        found = page.evaluate(PANELS)
        assert page.evaluate(MISPLACED) == []
    assert faults == []
    assert len(found["tops"]) == 4
    if not apart:
        assert found["tops"].count(found["tops"][0]) == in_a_row
    assert found["drawn"] <= found["view"] + 1
