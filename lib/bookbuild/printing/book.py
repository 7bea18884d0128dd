"""`make pdf`: the whole built site as one PDF, and the link to it on the front page of that site."""

import re
import shutil
from importlib import metadata
from pathlib import Path

import yaml

from bookbuild.error import BookError
from bookbuild.pages.toc import read_parts
from bookbuild.printing.leaves import Cover, Part
from bookbuild.printing.paper import Printed, print_book
from bookbuild.site.place import STAMP, stamp_again
from moelaws.files import write_whole

NAME = "moelaws.pdf"

_PLACE = re.compile(r'(<section id="take-it-with-you">.*?<ul[^>]*>)', re.DOTALL)
_LINK = re.compile(r'\n<li class="pdf">.*?</li>', re.DOTALL)


def print_site(root: Path, site: Path, out: Path) -> Printed:
    """Print a built site, and offer the PDF on its front page.

    Arguments:
        root: folder of the book, for its table of contents and its cover.
        site: folder of the built site.
        out: the PDF to write.

    Raises:
        BookError: there is no built site, a page is missing, or nothing to print with.
    """
    if not (site / STAMP).is_file():
        raise BookError(f"{site}: expected a built site, found none; `make book` builds it")
    parts = [Part(caption, pages) for caption, pages in read_parts(root)]
    printed = print_book(site, parts, _cover(root), out)
    offer(site, printed)
    return printed


def offer(site: Path, printed: Printed) -> None:
    """Copy a PDF into a built site and link to it from the front page, where there is a place for it."""
    index = site / "index.html"
    text = _LINK.sub("", index.read_text(encoding="utf-8"))
    megabytes = printed.path.stat().st_size / 1e6
    item = (
        f'\n<li class="pdf"><p><strong>PDF</strong>: the whole book, <a href="{NAME}" download>{printed.sheets} pages, '
        f"{megabytes:.1f} MB</a>.</p></li>"
    )
    found, count = _PLACE.subn(lambda match: match[1] + item, text, count=1)
    if not count:
        return  # a book without such a section keeps its PDF beside the site
    shutil.copyfile(printed.path, site / NAME)
    write_whole(index, found)
    stamp_again(site, ("index.html", NAME))


def _cover(root: Path) -> Cover:
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    picture = root / "images" / "cover.svg"
    lines = (
        "An open laboratory of mixture-of-experts scaling",
        str(config["author"]),
        f"moelaws {metadata.version('moelaws')}",
        str(config.get("repository", {}).get("url", "")),
        "Code: MIT. Text and data: CC BY 4.0.",
    )
    image = f'<img src="{picture.resolve().as_uri()}" alt="" />' if picture.is_file() else ""
    return Cover(str(config["title"]), tuple(line for line in lines if line), image)
