"""The two scripts that pages need and the repository does not carry: Vega for the charts, MathJax for the formulas.

Both come out of installed packages at build time, so that a page asks no other host for anything.
"""

import shutil
from importlib import metadata
from pathlib import Path

from bookbuild.error import BookError
from moelaws.files import write_whole

VEGA = "_static/vega/bundle.js"
MATHJAX = "_static/mathjax/tex-svg.js"


def install_assets(site: Path, cache: Path) -> None:
    """Copy the scripts into a built site.

    They are copied after the build because Jupyter Book loads every script that it finds in `_static` on every page:
    MathJax would be loaded twice, and Vega where there is no chart.

    Arguments:
        site: folder of the built site.
        cache: folder that keeps the Vega bundle between builds (making it takes seconds).

    Raises:
        BookError: a package of the `book` extra is missing.
    """
    for source, place in ((vega_bundle(cache), VEGA), (mathjax_script(), MATHJAX)):
        (site / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, site / place)


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


def mathjax_script() -> Path:
    """Find MathJax (TeX input, SVG output, all fonts and TeX packages in one file) in its installed package."""
    try:
        files = metadata.files("django-static-mathjax") or []
    except metadata.PackageNotFoundError as error:
        raise BookError("django-static-mathjax is not installed; it is in the extra 'book'") from error
    for file in files:
        # The full one: the smaller one fetches TeX packages such as boldsymbol or cancel when a formula uses them.
        if file.as_posix().endswith("es5/tex-svg-full.js"):
            return Path(str(file.locate()))
    raise BookError("django-static-mathjax: expected es5/tex-svg-full.js among its files, found none")
