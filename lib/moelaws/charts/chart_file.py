"""A chart as a file: a picture, or a page that opens without a network."""

import binascii
import struct
from pathlib import Path
from typing import Any

from moelaws.charts.offline import static_spec, vegalite_version
from moelaws.charts.theme import themed
from moelaws.files import check_writable, is_stream, write_whole
from moelaws.quote import plain, shown

SUFFIXES = (".svg", ".png", ".html")
_MARK = b"moelaws chart"
_WITHIN = 400
"""Bytes at the beginning of a file among which its mark stands."""
_SCALE = 2


class ChartFileError(ValueError):
    """A chart cannot be written there; the message says why."""


def check_chart(path: Path) -> None:
    """Find out whether a chart could be written; nothing is touched.

    Args:
        path: with one of ``SUFFIXES``. A file is replaced only if it is empty or a chart that ``save_chart`` wrote.

    Raises:
        ChartFileError: another suffix, or a file of somebody's.
        OSError: the place cannot be written to.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ChartFileError(f"a figure's file {shown(str(path))}: expected a name that ends in {', '.join(SUFFIXES)}")
    check_writable(path)
    if is_stream(path) or not path.exists():
        return
    with path.open("rb") as file:
        head = file.read(_WITHIN)
    if head and _MARK not in head:
        raise ChartFileError(f"{plain(path, 200)}: another file has this name; name a new one, or remove it")


def save_chart(chart: Any, path: Path) -> None:
    """Write an Altair chart.

    Args:
        chart: the chart.
        path: where; its suffix says as what: ``.svg``, ``.png`` (twice the pixels), or ``.html``, a page that holds
            the chart with its interaction and loads nothing.

    Raises:
        ChartFileError, OSError: see ``check_chart``.
    """
    check_chart(path)
    kind = path.suffix.lower()
    spec = themed(chart)
    if kind == ".svg":
        content = f"<!-- {_MARK.decode()} -->\n{svg_of(spec)}".encode()
    elif kind == ".png":
        content = _marked_png(_png_of(spec))
    else:
        content = _page_of(spec).encode()
    write_whole(path, content)


def svg_of(spec: dict[str, Any]) -> str:
    """A chart's specification as SVG.

    Raises:
        ChartFileError: nothing here that draws.
    """
    drawer, version = _drawer()
    return str(drawer.vegalite_to_svg(static_spec(spec), vl_version=version))


def _png_of(spec: dict[str, Any]) -> bytes:
    drawer, version = _drawer()
    return bytes(drawer.vegalite_to_png(static_spec(spec), vl_version=version, scale=_SCALE))


def _drawer() -> tuple[Any, str]:
    try:
        import vl_convert
    except ImportError:  # Pyodide has none
        raise ChartFileError("a figure as a file needs vl-convert: pip install vl-convert-python") from None
    return vl_convert, vegalite_version(vl_convert.get_vegalite_versions())


def _page_of(spec: dict[str, Any]) -> str:
    drawer, version = _drawer()
    page = str(drawer.vegalite_to_html(spec, vl_version=version, bundle=True))
    first, sign, rest = page.partition(">")
    return f"{first}{sign}<!-- {_MARK.decode()} -->{rest}"


def _marked_png(data: bytes) -> bytes:
    """A PNG with a note of who made it, behind its first chunk."""
    at = 8 + 4 + 4 + 13 + 4  # signature, and length, name, content and sum of IHDR
    body = b"tEXtSoftware\0" + _MARK
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", binascii.crc32(body))
    return data[:at] + chunk + data[at:]
