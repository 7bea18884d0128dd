"""Charts without a network: the renderer that turns an Altair chart into what each kind of page can show.

In the book, a chart is its specification plus a static image; one script of the site (`_static/charts.js`) draws the
first and shows the second only where scripts are off. Altair's own renderer would load Vega from elsewhere when the
page is read, and its bare MIME type is not shown in a Jupyter Book at all.

In a notebook there is no such site. There `text/html` is what JupyterLab, Jupyter Notebook and Colab prefer, so it must
draw by itself: Altair's own page fragment does, and where it cannot load Vega, a static image stands in its place. VS
Code takes the Vega-Lite type, and what shows neither (GitHub, a PDF export) finds the PNG.
"""

import base64
import html
import importlib
import json
import math
import os
import re
import textwrap
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import altair as alt

from moelaws.charts.theme import THEME, lettered

MAJOR = alt.SCHEMA_VERSION.split(".")[0]

MIME_TYPE = f"application/vnd.vegalite.{MAJOR}+json"
"""The kind of output that VS Code draws itself; JupyterLab 4 does so with Vega-Lite 5, and not with 6.

Altair 6 names it without the `+`, and then no notebook that holds it is valid.
"""

STATIC_WIDTH = 680
"""Pixels of a static image whose chart takes the width of its page."""

# As `_static/charts.js` sets panels: no narrower than so much of their width, no wider, and what lies between them.
_LEAST, _MOST, _BETWEEN, _AXIS = 0.8, 320, 22, 62
_LETTER = 8.6  # pixels of a letter of a title, in the widest of fonts

LARGEST_SVG = 150_000
"""Bytes above which a static image is sent as PNG: an SVG grows with every point."""

_STROKE = "<moelaws-stroke>"

PLACES = ("book", "later", "notebook", "inline")


def enable(place: str | None = None) -> None:
    """Show charts in the way that suits the page they are on, in the book's theme.

    Arguments:
        place: `book` for a page of the site; `later` for one whose builder draws the charts, by `draw_output`;
            `notebook` for Jupyter, VS Code and Colab; `inline` for a notebook on a machine without network, where each
            chart carries Vega with it (close to 1 MB a chart). Without it, the environment variable MOELAWS_CHARTS
            decides, which the book's build sets, else `notebook`.

    Raises:
        ValueError: another word than these.
    """
    place = place or os.environ.get("MOELAWS_CHARTS") or "notebook"
    if place not in PLACES:
        raise ValueError(f"place of the charts: expected one of {', '.join(PLACES)}, found '{place}'")
    alt.renderers.register("moelaws", _RENDERERS[place])
    alt.renderers.enable("moelaws")
    alt.theme.enable(THEME)


def book_bundle(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Render a chart for a page of the site.

    Arguments:
        spec: Vega-Lite specification, data included.

    Returns:
        MIME bundle: the page fragment and the specification. The page shows no other picture.
    """
    spec = lettered(spec)
    words = html.escape(str(spec.get("description", "")), quote=True)
    # In a script element, "</" would end it; < means the same to JSON.
    inert = json.dumps(spec, separators=(",", ":")).replace("<", "\\u003c")
    image = static_image(spec)
    picture = f'<noscript><img class="chart-image" alt="{words}" src="{image}"></noscript>' if image else ""
    fragment = (
        f'<div class="chart"><div class="chart-view" aria-label="{words}"></div>'
        f'<script type="application/json" class="chart-spec">{inert}</script>{picture}</div>'
    )
    return {"text/html": fragment, MIME_TYPE: spec, "text/plain": words}


def undrawn_bundle(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    """What is known of a chart for a page of the site before it is drawn: Vega takes half a second to start."""
    return {MIME_TYPE: spec, "text/plain": html.escape(str(spec.get("description", "")), quote=True)}


def draw_output(data: MutableMapping[str, Any]) -> None:
    """Draw a chart whose place was `later`, as `book_bundle` does; any other output is left as it is.

    Arguments:
        data: MIME bundle of an output of a notebook; completed in place.
    """
    if MIME_TYPE in data and "text/html" not in data:
        data.update(book_bundle(data[MIME_TYPE]))


def notebook_bundle(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Render a chart for a notebook with a network: Altair's page fragment, the specification, and a PNG."""
    spec = lettered(spec)
    drawn = _drawn(spec)
    return {"text/html": _with_still(_altair_html(spec, "universal"), spec, drawn), MIME_TYPE: spec, **_png(drawn)}


def inline_bundle(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Render a chart for a notebook without a network; needs vl-convert, which brings Vega along."""
    spec = lettered(spec)
    return {"text/html": _part_of_page(_altair_html(spec, "inline")), MIME_TYPE: spec, **_png(_drawn(spec))}


_RENDERERS = {"book": book_bundle, "later": undrawn_bundle, "notebook": notebook_bundle, "inline": inline_bundle}


def static_image(spec: Mapping[str, Any]) -> str | None:
    """Draw a chart without a browser.

    Arguments:
        spec: Vega-Lite specification.

    Returns:
        A data URI (SVG, or PNG for a chart of many points), or None where vl-convert is not installed.
    """
    return _data_uri(_drawn(spec))


def static_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Give a chart that takes the width of its page a width of its own; panels stand side by side as far as it goes."""
    made: dict[str, Any] = {**spec, "width": STATIC_WIDTH} if spec.get("width") == "container" else dict(spec)
    if isinstance(made.get("facet"), dict) and isinstance(inside := made.get("spec"), dict):
        count, width = _panels(made), inside.get("width")
        if count and isinstance(width, int | float):
            own = (made.get("resolve") or {}).get("scale", {}).get("y") == "independent"
            room = {n: (STATIC_WIDTH - _AXIS - (n - 1) * (_AXIS if own else _BETWEEN)) / n for n in range(1, count + 1)}
            fit = [columns for columns, each in room.items() if each >= _LEAST * width]
            columns = math.ceil(count / math.ceil(count / max(fit, default=1)))  # as many in each row
            made |= {"columns": columns, "spec": {**inside, "width": min(_MOST, int(room[columns]))}}
    return made


def _panels(spec: Mapping[str, Any]) -> int:
    """How many panels a chart has; none where its specification does not say."""
    data = spec.get("data") or spec["spec"].get("data") or {}
    rows = data.get("values") or spec.get("datasets", {}).get(data.get("name"))
    return len({row.get(spec["facet"].get("field")) for row in rows}) if isinstance(rows, list) else 0


def _titled(spec: Mapping[str, Any], width: float) -> dict[str, Any] | None:
    """The same chart with its title in lines that fit, or nothing where one does: Vega cuts off what is longer."""
    title = spec.get("title")
    words = title.get("text") if isinstance(title, dict) else title
    if not isinstance(words, str) or _LETTER * len(words) <= width:
        return None
    lines = textwrap.wrap(words, max(20, int(width / _LETTER)))
    return {**spec, "title": {**title, "text": lines} if isinstance(title, dict) else {"text": lines}}


def vegalite_version(available: Iterable[str]) -> str:
    """Choose the Vega-Lite that draws what the installed Altair writes.

    Arguments:
        available: versions that vl-convert carries, such as `6.1` and `v6.4`.

    Returns:
        The one of Altair's own minor version, else the newest of the same major version.

    Raises:
        ValueError: none has Altair's major version.
    """
    wanted = tuple(int(part) for part in alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    found = {tuple(int(part) for part in name.lstrip("v").split(".")[:2]): name for name in available}
    same_major = [version for version in found if version[0] == wanted[0]]
    if not same_major:
        raise ValueError(
            f"Altair writes Vega-Lite {alt.SCHEMA_VERSION}, vl-convert carries {', '.join(sorted(found.values()))};"
            " install a newer vl-convert-python"
        )
    return found[wanted if wanted in found else max(same_major)].lstrip("v")


def _altair_html(spec: dict[str, Any], template: str) -> str:
    display = importlib.import_module(f"altair.vegalite.{MAJOR}.display")
    # Altair writes the specification into a script element, which "</" would end; "<\\/" means the same to JavaScript.
    marked = json.loads(json.dumps(spec).replace("</", _STROKE))
    return str(display.html_renderer(marked, template=template)["text/html"]).replace(_STROKE, "<\\/")


def _part_of_page(page: str) -> str:
    """Altair's page that brings Vega along, as a part of one: several share a notebook, and none its variables."""
    before, box, _ = re.split(r'(<div [^>]*id="altair-viz-\w+"></div>)', page, maxsplit=1)
    style = before[before.index("<style>") : before.index("</style>")] + "</style>"
    scripts = re.findall(r'<script type="text/javascript">(.*?)</script>', page, re.DOTALL)
    return "\n".join([style, box, "<script>(() => {", *scripts, "})();</script>"])


# Altair's script fills a box, with a chart or with a line in red that says why there is none.
_STILL = """<style>
  #{box} ~ .chart-still {{ display: none }}
  #{box}:has(> .error) ~ .chart-still {{ display: block }}
  #{box}:has(> .error) {{ display: none }}
</style>
<div class="chart-still"><img alt="{words}" src="{image}" style="max-width: 100%">
<p>A picture only: Vega, which draws this chart, could not be loaded from the network. After
<code>charts.enable("inline")</code>, from <code>moelaws</code>, each chart brings it along.</p></div>
"""


def _with_still(fragment: str, spec: Mapping[str, Any], drawn: str | None) -> str:
    """Altair's page fragment, and what is shown where it can load no Vega."""
    image, box = _data_uri(drawn), re.search(r'<div id="([\w-]+)"></div>', fragment)
    if image is None or box is None:
        return fragment
    words = html.escape(str(spec.get("description", "")), quote=True)
    return fragment + _STILL.format(box=box[1], words=words, image=image)


def _drawn(spec: Mapping[str, Any]) -> str | None:
    """A chart as SVG, of which pictures of other kinds are made: drawing is what takes long."""
    vl_convert = _vl_convert()
    if vl_convert is None:
        return None
    version = vegalite_version(vl_convert.get_vegalite_versions())
    static = static_spec(spec)
    drawn = str(vl_convert.vegalite_to_svg(static, vl_version=version))
    width = re.search(r'<svg[^>]* width="([\d.]+)"', drawn)
    if width and (titled := _titled(static, float(width[1]))):
        drawn = str(vl_convert.vegalite_to_svg(titled, vl_version=version))
    return drawn


def _data_uri(drawn: str | None) -> str | None:
    if drawn is None:
        return None
    svg = drawn.encode()
    if len(svg) <= LARGEST_SVG:
        return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    return f"data:image/png;base64,{_picture(drawn, scale=1.5)}"


def _png(drawn: str | None) -> dict[str, str]:
    return {} if drawn is None else {"image/png": _picture(drawn, scale=2)}


def _picture(drawn: str, scale: float) -> str:
    import vl_convert

    return base64.b64encode(vl_convert.svg_to_png(drawn, scale=scale)).decode()


def _vl_convert() -> Any | None:
    """Import vl-convert where there is one: a browser (Pyodide) and a bare Colab have none."""
    try:
        import vl_convert
    except ImportError:
        return None
    return vl_convert
