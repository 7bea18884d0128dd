"""The small book of these tests, copied to be changed and built, and the pages of the real one that they look at."""

import shutil
from pathlib import Path

from bookbuild.pages.chapter import Page, read_page
from bookbuild.pages.toc import read_toc
from bookbuild.site.assets import vega_bundle
from repository import ROOT, TESTS

SAMPLED = ("index", "serving_cost", "adaptive_compute")
"""Chapters that are quick at small sizes: the front page, one that counts, with sliders and equations, and one of runs,
with verdicts. The others are executed by `make validate` at small sizes, by `make book` at full."""

DEAR = "api"
"""The page that imports the whole library and documents it takes as long as ten others; `make book` builds it."""


def sampled_pages() -> list[Page]:
    """Pages of this book that are tested in a site without the others: the sampled chapters, and those without code."""
    pages = [read_page(ROOT, name) for name in read_toc(ROOT)]
    return [page for page in pages if (page.stem in SAMPLED if page.is_notebook else page.stem != DEAR)]


def pages_of(site: Path) -> list[Path]:
    """Files of the pages that a site was built for."""
    return sorted(set(site.glob("**/*.html")) - set(site.glob("_static/**/*")))


def left_out(site: Path) -> set[Path]:
    """Files of pages that a site refers to and does not hold: those of this book that are not sampled."""
    if site != ROOT / "_build" / "sample":
        return set()
    return {site / f"{name}.html" for name in {*read_toc(ROOT)} - {page.name for page in sampled_pages()}}


def copy_small_book(folder: Path) -> Path:
    """Write the small book of these tests, with the settings and styles of the real one."""
    shutil.copytree(TESTS / "small_book", folder, dirs_exist_ok=True)
    shutil.copy(ROOT / "_config.yml", folder)
    shutil.copytree(ROOT / "_static", folder / "_static")
    for name in ("lib", "data"):
        (folder / name).mkdir()
    (folder / "lib" / "law.py").write_text("exponent = 0.5\n")
    scripts = folder / "_build" / "assets"
    scripts.mkdir(parents=True)
    shutil.copy(vega_bundle(ROOT / "_build" / "assets"), scripts)  # made once for all, which takes seconds
    return folder
