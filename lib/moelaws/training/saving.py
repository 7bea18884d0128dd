"""Where and how often runs save their state: beside the table that their rows will stand in."""

import secrets
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

SAVE_EVERY = 180.0
"""Seconds after which a run of a sweep saves its state; a shorter run never does."""

_MARK = "sweep"  # file that tells the workers of a sweep that they see the coordinator's folder


def _say_nothing(_: str) -> None:
    pass


@dataclass(frozen=True)
class Saving:
    """Where and how often runs save their state.

    Attributes:
        folder: holds one file a run, named by its id; made in its parent folder when the first state is saved. A file
            stays until ``forget``, so that a result that is lost after training costs minutes.
        every: seconds between two savings; a shorter run never saves.
        mark: what the file ``sweep`` in the folder must hold, where the workers may be on other machines: one that
            does not see the coordinator's folder saves nothing. Empty for processes of this machine.
        tell: told in one sentence when a saved state is of no use, or none can be written.
    """

    folder: Path
    every: float = SAVE_EVERY
    mark: str = ""
    tell: Callable[[str], None] = field(default=_say_nothing, compare=False)

    def open(self) -> None:
        """Make the folder with its mark, if it has one; what the coordinator of a sweep does."""
        if self.mark:
            self.folder.mkdir(exist_ok=True)
            (self.folder / _MARK).write_text(self.mark)

    def close(self) -> None:
        """Remove the folder unless it holds the state of a run; what the coordinator of a sweep does."""
        with suppress(OSError):
            if {file.name for file in self.folder.iterdir()} <= {_MARK}:
                (self.folder / _MARK).unlink(missing_ok=True)
                self.folder.rmdir()

    @property
    def reachable(self) -> bool:
        """Whether this process sees the folder that is meant."""
        try:
            return not self.mark or (self.folder / _MARK).read_text() == self.mark
        except OSError:
            return False

    def file(self, run_id: str) -> Path:
        """Where a run's state lies."""
        return self.folder / f"{run_id}.safetensors"

    def forget(self, run_id: str) -> None:
        """Remove a run's state, and what was left by a process that was killed while it wrote."""
        with suppress(OSError):
            for file in (self.file(run_id), *self.folder.glob(f".{run_id}.*")):
                file.unlink(missing_ok=True)


@contextmanager
def saving_beside(
    table: Path, every: float | None, done: Collection[str], elsewhere: bool, tell: Callable[[str], None]
) -> Iterator[Saving | None]:
    """The folder ``TABLE.partial`` for the time of a sweep.

    Args:
        table: the run table.
        every: seconds between two savings; ``None`` for a sweep that saves nothing.
        done: ids of the runs on the table; nobody needs their state any more.
        elsewhere: whether the workers may be on other machines, which may or may not share this folder.
        tell: told in one sentence when there can be no such folder.

    Yields:
        What the workers need to know.
    """
    if every is None:
        yield None
        return
    saving = Saving(Path(f"{table.resolve()}.partial"), every, secrets.token_hex(8) if elsewhere else "", _print)
    try:
        saving.open()
    except OSError as error:
        tell(f"{saving.folder}: {error.strerror or error}; runs are not saved before their end")
        yield None
        return
    for file in saving.folder.glob("*.safetensors"):
        if file.stem in done:
            saving.forget(file.stem)
    try:
        yield saving
    finally:
        saving.close()


def _print(sentence: str) -> None:
    """What a worker does, whose only way to the reader is what it prints."""
    print(f"moelaws: {sentence}", file=sys.stderr, flush=True)
