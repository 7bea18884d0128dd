"""The folder that Sphinx works in, kept from build to build: what it has read and has not changed stays read."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

WHOLE = ".whole"
"""Name of the mark of a folder in which the last build came to its end."""


@dataclass(frozen=True)
class Kept:
    """A folder that is kept.

    Arguments:
        folder: where it lies, always at the same place: Sphinx notes its name.
        ground: hash of all that pages are rendered with; where it is another, everything is read again.
        anew: read everything again whatever there is.
    """

    folder: Path
    ground: str
    anew: bool = False


@dataclass(frozen=True)
class Workshop:
    """A folder to work in.

    Arguments:
        stage: for the tree and what Sphinx makes of it.
        kept: what it belongs to; None for one that is thrown away.
        held: descriptors that whoever works in it must hold: as long as one process has them, no other build comes in.
    """

    stage: Path
    kept: Kept | None = None
    held: tuple[int, ...] = ()

    def keep(self) -> None:
        """Say that all went well. Without it the next build begins anew: Sphinx tells a warning but once."""
        if self.kept is not None:
            (self.kept.folder / WHOLE).write_text(self.kept.ground, encoding="utf-8")


@contextmanager
def opened(kept: Kept | None) -> Iterator[Workshop]:
    """Go to work in a kept folder; in a fresh one where there is none, or where another build is at work in it."""
    with _held(kept) as held:
        if kept is None or held is None:
            with tempfile.TemporaryDirectory(prefix="stage-") as folder:
                yield Workshop(Path(folder))
            return
        stage, mark = kept.folder / "stage", kept.folder / WHOLE
        if kept.anew or not (mark.is_file() and mark.read_text(encoding="utf-8") == kept.ground and stage.is_dir()):
            shutil.rmtree(stage, ignore_errors=True)
        mark.unlink(missing_ok=True)
        stage.mkdir(exist_ok=True)
        yield Workshop(stage, kept, (held,))


@contextmanager
def _held(kept: Kept | None) -> Iterator[int | None]:
    """Hold a kept folder for this process and those that it hands the descriptor; None where that cannot be had."""
    if kept is None:
        yield None
        return
    kept.folder.mkdir(parents=True, exist_ok=True)
    with (kept.folder / "held.lock").open("w") as file:
        yield file.fileno() if _locked(file.fileno()) else None


def _locked(descriptor: int) -> bool:
    """Lock an open file, if the system can and nobody else has."""
    with suppress(ImportError, OSError):  # no such module on Windows: there, each build works in a fresh folder
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
