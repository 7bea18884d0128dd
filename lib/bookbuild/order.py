"""What to build, and where."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bookbuild.pages.chapter import FULL


@dataclass(frozen=True)
class Order:
    """What to build.

    Arguments:
        root: folder of the book, the one with `_toc.yml`.
        place: folder of the finished site; replaced as a whole.
        profile: sizes the chapters run at; `full` takes the defaults of each parameters cell.
        jobs: chapters executed at a time.
        force: execute and render even where nothing changed.
        say: receives one line of progress at a time.
    """

    root: Path
    place: Path
    profile: str = FULL
    jobs: int = 2
    force: bool = False
    say: Callable[[str], None] = lambda line: print(line, flush=True)

    @property
    def work(self) -> Path:
        """Folder for everything that is made on the way; shared by all orders of this book."""
        return self.root / "_build"
