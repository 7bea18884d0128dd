"""Figures of the built pages, found by how their descriptions begin."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bookbuild.error import BookError

if TYPE_CHECKING:
    from bs4 import Tag


class Figures:
    """The static images of a built site's charts.

    Arguments:
        site: its folder.
    """

    def __init__(self, site: Path) -> None:
        self.site = site

    def find(self, page: str, words: str, where: str) -> tuple[str, str]:
        """The address and the description of the one figure of a page whose description begins so.

        Arguments:
            page: its name.
            words: beginning of the description.
            where: which slide asks, for the message.

        Raises:
            BookError: the page is not there, or none or several of its figures are described so.
        """
        charts = self._charts(page, where)
        found = [image for image in charts if str(image["alt"]).startswith(words)]
        if len(found) != 1:
            known = "; ".join(str(image["alt"])[:40] for image in charts) or "no figures at all"
            raise BookError(
                f"{where}: expected one figure of {page} that begins '{words}', found {len(found)}: {known}"
            )
        return str(found[0]["src"]), str(found[0]["alt"])

    def _charts(self, page: str, where: str) -> "list[Tag]":
        from bs4 import BeautifulSoup

        if page not in self._read:
            path = self.site / f"{page}.html"
            if not path.is_file():
                raise BookError(f"{where}: shows a figure of {page}, which is no page of {self.site}")
            parsed = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
            self._read[page] = parsed.select("img.chart-image")
        return self._read[page]

    @cached_property
    def _read(self) -> "dict[str, list[Tag]]":
        return {}
