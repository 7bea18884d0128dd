"""What a long computation is at, told to whoever waits for it; silent where nobody does.

    with stage("bootstrap refits", 1000) as done:
        for i in range(1000):
            ...
            done(i + 1)

A command shows it on the terminal (``moelaws.cli.progress_bar``). Another watcher is a function of three arguments:

    with watched(lambda words, done, total: print(words, done, total)):
        fit("abnar2025", runs)
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TypeVar

Item = TypeVar("Item")

Watch = Callable[[str, float, float | None], None]
"""Told what is being done, how much of it is done, and of how much; ``None`` where that is not known."""


@dataclass(frozen=True)
class _Place:
    """Where a computation is.

    Attributes:
        watch: who is told.
        words: the stages under way, from the outermost.
        counted: whether one of them counts; what goes on inside it is its own business.
    """

    watch: Watch | None = None
    words: tuple[str, ...] = ()
    counted: bool = False


_NOWHERE = _Place()
_PLACE: ContextVar[_Place] = ContextVar("place", default=_NOWHERE)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Have a function told of every stage that begins or advances inside the block, in this thread.

    Examples:
        >>> seen = []
        >>> with watched(lambda name, done, of: seen.append(name)):
        ...     with stage("reading"):
        ...         pass
        >>> seen[0]
        'reading'
    """
    token = _PLACE.set(_Place(watch))
    try:
        yield
    finally:
        _PLACE.reset(token)


@contextmanager
def stage(words: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """One stage of a computation.

    Stages lie inside one another: ``fitting clark2022`` holds ``first descents``. They are told together, as
    ``fitting clark2022: first descents``, down to the outermost one that counts.

    Args:
        words: what is being done, in a few words.
        total: how much there is to do; ``None`` for a stage that does not count.

    Yields:
        A function to call with how much is done so far.
    """
    before = _PLACE.get()
    watch = before.watch
    if watch is None or before.counted:
        yield _untold
        return
    here = replace(before, words=(*before.words, words), counted=total is not None)
    said = ": ".join(here.words)
    token = _PLACE.set(here)
    watch(said, 0, total)
    try:
        yield lambda done: watch(said, done, total)
    finally:
        _PLACE.reset(token)
        watch(": ".join(before.words), 0, None)


def counted(items: Iterable[Item], words: str, total: int) -> Iterator[Item]:
    """The items, with a stage that counts how many of them are done."""
    with stage(words, total) as done:
        for number, item in enumerate(items, start=1):
            yield item
            done(number)


def _untold(_: float) -> None:
    pass
