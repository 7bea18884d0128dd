"""Charts as the browser that prints has drawn them: a static image was measured with letters of another width."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bookbuild.error import BookError

_DRAWN = "() => [...document.querySelectorAll('div.chart')].every(chart => chart.dataset.state)"

_PICTURES = """
() => [...document.querySelectorAll('div.chart')].map(chart => {
  const drawing = chart.querySelector('svg.marks');
  return drawing ? new XMLSerializer().serializeToString(drawing) : '';
})
"""

SHEET_CHART_PX = 700
"""Width of the window in which charts are drawn: near that of a sheet's text, so that letters keep their size."""

_LONGEST_MS = 60_000


def drawn_charts(browser: Any, site: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """The charts of each page, in its order, as data URIs.

    Arguments:
        browser: a Chromium of Playwright's.
        site: folder of the built site.
        names: of its pages.

    Returns:
        Page name -> one text a chart; empty where it was not drawn.

    Raises:
        BookError: the charts of a page take longer than any chart does.
    """
    context = browser.new_context(
        viewport={"width": SHEET_CHART_PX, "height": 1000}, color_scheme="light", offline=True
    )
    try:
        return {name: _of_page(context, site / f"{name}.html") for name in names}
    finally:
        context.close()


def _of_page(context: Any, path: Path) -> list[str]:
    from playwright.sync_api import TimeoutError

    if 'class="chart"' not in path.read_text(encoding="utf-8"):
        return []
    page = context.new_page()
    try:
        page.goto(path.resolve().as_uri())
        page.wait_for_function(_DRAWN, timeout=_LONGEST_MS)
        drawings = page.evaluate(_PICTURES)
    except TimeoutError:
        raise BookError(f"{path}: its charts were not drawn within {_LONGEST_MS // 1000} s") from None
    finally:
        page.close()
    # As images: the names within a drawing, of its clips and gradients, are those of the next one too.
    uri = "data:image/svg+xml;base64,"
    return [uri + base64.b64encode(text.encode()).decode() if text else "" for text in drawings]
