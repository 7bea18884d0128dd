"""All pages of a built site as one document to be printed: cover, contents, then the pages in order."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urlsplit

from bookbuild.error import BookError

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_IDS = ("for", "aria-labelledby", "aria-describedby", "aria-controls")
"""Attributes that name other elements, besides links."""

_ONLY_ON_SCREEN = (
    "script, template, link, .headerlink, .togglebutton-container, .toggle-button, button, .copybtn, .backrefs"
)


@dataclass(frozen=True)
class Part:
    """A part of the book.

    Arguments:
        caption: empty for the front page.
        pages: names of its pages, in order.
    """

    caption: str
    pages: tuple[str, ...]


@dataclass(frozen=True)
class Cover:
    """What stands on the first sheet.

    Arguments:
        title: of the book.
        lines: below it, each on its own: who, which version, where from, under which licence.
        picture: HTML of a picture to be set between them; may be empty.
    """

    title: str
    lines: tuple[str, ...]
    picture: str = ""


def document(
    site: Path,
    parts: Sequence[Part],
    cover: Cover,
    charts: Mapping[str, Sequence[str]],
    numbers: Mapping[str, int] | None = None,
) -> str:
    """The whole book as one HTML text.

    Each address within the book becomes one within the document; styles and pictures are named by their full path, for
    the document lies elsewhere. Charts are images, and what is folded is open.

    Arguments:
        site: folder of the built site.
        parts: what to print.
        cover: the first sheet.
        charts: page name -> the address of an image for each of its charts; where there is none, the one stands that is
            shown where scripts are off.
        numbers: page name -> the sheet that it begins on, for the contents; without it, blanks as wide.

    Raises:
        BookError: a page is not in the site.
    """
    names = [name for part in parts for name in part.pages]
    pages = {name: _page(site, name) for name in names}
    articles = {
        name: _article(site, name, page, frozenset(names), charts.get(name, ())) for name, page in pages.items()
    }
    styles = dict.fromkeys(link for name, page in pages.items() for link in _styles(site, name, page))
    body = [_cover(cover), _contents(parts, {n: _title(a) for n, a in articles.items()}, numbers or {})]
    for part in parts:
        for place, name in enumerate(part.pages):
            words = f'<p class="part">{html.escape(part.caption)}</p>' if part.caption and not place else ""
            article = articles[name]
            body.append(f'<div class="leaf bd-content">{words}<div class="bd-article-container">{article}</div></div>')
    links = "".join(f'<link rel="stylesheet" href="{html.escape(link)}" />' for link in styles)
    sheet = (Path(__file__).with_name("paper.css")).read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8" />'
        f"<title>{html.escape(cover.title)}</title>{links}<style>{sheet}</style></head>"
        f'<body class="printed">{"".join(body)}</body></html>\n'
    )


def anchor(name: str, fragment: str = "") -> str:
    """Where a place of a page is in the document."""
    stem = "p-" + re.sub(r"\W", "-", name)
    return f"{stem}--{fragment}" if fragment else stem


def _page(site: Path, name: str) -> "BeautifulSoup":
    from bs4 import BeautifulSoup

    path = site / f"{name}.html"
    if not path.is_file():
        raise BookError(f"{path}: expected a page of the built site, found none; `make book` builds it")
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def _styles(site: Path, name: str, page: "BeautifulSoup") -> Iterable[str]:
    for link in page.select('link[rel~="stylesheet"]'):
        yield _resource(site, name, str(link["href"]))


def _resource(site: Path, name: str, address: str) -> str:
    """The full path of a file that a page shows."""
    return (site / name).parent.joinpath(urlsplit(address).path).resolve().as_uri()


def _title(article: "Tag") -> str:
    heading = article.find("h1")
    return " ".join(heading.get_text().split()) if heading else ""


def _article(site: Path, name: str, page: "BeautifulSoup", names: frozenset[str], charts: Sequence[str]) -> "Tag":
    found = page.select_one("article.bd-article")
    if found is None:
        raise BookError(f"{name}.html: expected the article of a page, found none")
    for place, chart in enumerate(found.select("div.chart")):
        image = chart.select_one("img.chart-image")
        if image is not None:
            image["src"] = (charts[place] if place < len(charts) else "") or image["src"]
            chart.replace_with(image.extract())
    for chaff in found.select(_ONLY_ON_SCREEN):
        chaff.decompose()
    for folded in found.select("details"):
        folded["open"] = ""
    for element in found.find_all(True):
        _move(element, site, name, names)
    found["id"] = anchor(name)
    return found


def _move(element: "Tag", site: Path, name: str, names: frozenset[str]) -> None:
    """Give an element the names and addresses that it has in the document."""
    if element.get("id"):
        element["id"] = anchor(name, str(element["id"]))
    for attribute in _IDS:
        if element.get(attribute):
            value: Any = element[attribute]
            words = value.split() if isinstance(value, str) else value
            element[attribute] = " ".join(anchor(name, word) for word in words)
    if element.name == "img" and not str(element.get("src", "")).startswith("data:"):
        element["src"] = _resource(site, name, str(element["src"]))
    address = str(element.get("href", ""))
    if element.name == "a" and address and not urlsplit(address).scheme:
        place, fragment = urldefrag(address)
        path = (site / name).parent.joinpath(place).resolve() if place else (site / name).resolve()
        inside = path.relative_to(site.resolve()).with_suffix("") if path.is_relative_to(site.resolve()) else path
        if inside.as_posix() in names:
            element["href"] = "#" + anchor(inside.as_posix(), fragment)
        else:
            del element["href"]  # a page or a file that is not on paper


def _cover(cover: Cover) -> str:
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in cover.lines)
    return f'<section class="cover"><h1>{html.escape(cover.title)}</h1>{cover.picture}{lines}</section>'


def _contents(parts: Sequence[Part], titles: Mapping[str, str], numbers: Mapping[str, int]) -> str:
    rows = []
    for part in parts:
        if part.caption:
            rows.append(f'<p class="part">{html.escape(part.caption)}</p>')
        for name in part.pages:
            number = numbers.get(name, "000")
            rows.append(
                f'<p class="entry"><a href="#{anchor(name)}">{html.escape(titles[name])}</a>'
                f'<span class="dots"></span><span class="sheet">{number}</span></p>'
            )
    return f'<nav class="printed-contents"><h1>Contents</h1>{"".join(rows)}</nav>'
