"""A built site is looked over and put in its place, in one step and only where nothing of somebody's is lost."""

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bookbuild.error import BookError
from bookbuild.inputs.states import IGNORED, States, states_of
from bookbuild.site.exchange import exchange
from moelaws.files import write_whole

STAMP = ".book.json"


@dataclass(frozen=True)
class Made:
    """What a site was made from.

    Arguments:
        digest: hash of all that is known before chapters are executed; empty where it changed meanwhile.
        read: what the chapters were seen to read besides: path relative to the root of the book -> its state.
    """

    digest: str
    read: States


REMOTE = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\ssrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon|modulepreload))[^>]*?\shref=["']?(?:https?:)?//[^"'\s>]+""",
    re.IGNORECASE,
)
"""Tags that make a browser ask another host for something when a page opens (links to click are fine)."""


def check_site(site: Path, pages: Sequence[str]) -> None:
    """Look the built site over: every page is there, and none asks another host for anything.

    Raises:
        BookError: one reason for each page that is missing, and each foreign script, style, font or picture.
    """
    reasons = [f"{page}: listed in _toc.yml, but {page}.html was not built" for page in missing_pages(site, pages)]
    for path in sorted(set(site.glob("**/*.html")) - set(site.glob("_static/**/*"))):
        for tag in REMOTE.findall(path.read_text(encoding="utf-8")):
            reasons.append(f"{path.relative_to(site).as_posix()}: loads from another host: {tag[:160]}")
    if reasons:
        raise BookError(*reasons)


def missing_pages(site: Path, pages: Sequence[str]) -> list[str]:
    """Pages of the book that the site lacks; the front page must be there as `index.html`, too."""
    needed = {page: site / f"{page}.html" for page in pages} | {"index": site / "index.html"}
    return [page for page, path in needed.items() if not path.is_file() or path.stat().st_size == 0]


def is_current(site: Path, digest: str, pages: Sequence[str], root: Path) -> bool:
    """Whether a site was made from these very inputs and is still whole: each file there, with its size."""
    try:
        stamp = json.loads((site / STAMP).read_text(encoding="utf-8"))
        whole = all((site / name).stat().st_size == size for name, size in stamp["files"].items())
        whole = whole and states_of(root, stamp["read"]) == stamp["read"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False
    return whole and stamp.get("inputs") == digest and not missing_pages(site, pages)


def check_place(place: Path) -> None:
    """Refuse to replace a folder that this command did not make.

    Raises:
        BookError: the folder holds something else than a built book.
    """
    if place.exists() and not place.is_dir():
        raise BookError(f"{place}: expected a folder for the site, found a file")
    if place.is_dir() and any(place.iterdir()) and not (place / STAMP).is_file():
        raise BookError(f"{place}: not empty and not a site made by this command; name another folder, or empty it")
    if foreign := _foreign(place):
        raise BookError(
            f"{place}: {foreign} and perhaps more lies among the pages, but was not made by this command; keep it "
            "elsewhere, or name another folder"
        )


def _foreign(place: Path) -> str:
    """A file in the folder of a site that is not one of the site's, if there is one."""
    try:
        made = {STAMP, *json.loads((place / STAMP).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # nothing says what was made
    found = (path for path in sorted(place.glob("**/*")) if path.is_file() and path.name not in IGNORED)
    names = (path.relative_to(place).as_posix() for path in found)
    return next((name for name in names if name not in made), "")


def stamp_again(site: Path, names: Sequence[str]) -> None:
    """Take files that were added to a finished site, or changed in it, as made by this command."""
    path = site / STAMP
    stamp = json.loads(path.read_text(encoding="utf-8"))
    stamp["files"].update({name: (site / name).stat().st_size for name in names})
    write_whole(path, json.dumps(stamp, indent=1))


def put_in_place(site: Path, place: Path, made: Made) -> None:
    """Stamp a finished site and swap it in: readers of the old one never see a half of the new one.

    Arguments:
        site: the built site, on any file system.
        place: where it goes; what was there before is gone afterwards, so no removed page lingers.
        made: what it was made from, see `is_current`.
    """
    check_place(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as folder:
        new = Path(folder) / "new"
        shutil.move(site, new)
        files = {p.relative_to(new).as_posix(): p.stat().st_size for p in sorted(new.glob("**/*")) if p.is_file()}
        stamp = {"inputs": made.digest, "read": dict(made.read), "files": files}
        (new / STAMP).write_text(json.dumps(stamp, indent=1), encoding="utf-8")
        if place.exists():
            exchange(new, place)
        else:
            new.rename(place)
