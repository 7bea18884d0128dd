"""The script that pages need and the repository does not carry: Vega, for the charts.

It comes out of an installed package at build time, so that a page asks no other host for anything.
"""

import shutil
from importlib import metadata
from pathlib import Path

from bookbuild.error import BookError
from moelaws.files import write_whole

VEGA = "_static/vega/bundle.js"


def install_assets(site: Path, cache: Path) -> None:
    """Copy the script into a built site.

    It is copied after the build because Jupyter Book loads every script that it finds in `_static` on every page: Vega
    would be loaded where there is no chart.

    Arguments:
        site: folder of the built site.
        cache: folder that keeps the Vega bundle between builds (making it takes seconds).

    Raises:
        BookError: a package of the `book` extra is missing.
    """
    (site / VEGA).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(vega_bundle(cache), site / VEGA)


def vega_bundle(cache: Path) -> Path:
    """Make one script of Vega, Vega-Lite and Vega-Embed, for the Vega-Lite version that Altair writes.

    Arguments:
        cache: folder to keep it in.

    Returns:
        Path of the script; it sets `window.vegaEmbed`.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise BookError("vl-convert-python is not installed; it is in the extra 'book'") from error
    from moelaws.charts.offline import vegalite_version

    version = vegalite_version(vl_convert.get_vegalite_versions())
    path = cache / f"vega-{version}-{metadata.version('vl-convert-python')}.js"
    if not (path.is_file() and path.stat().st_size):
        cache.mkdir(parents=True, exist_ok=True)
        # In a function of its own: the bundle's top-level names would collide with those of Sphinx's scripts, and
        # every chart would stay blank.
        bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
        write_whole(path, f"(function () {{\n{bundle}\n}})();\n")
    return path
