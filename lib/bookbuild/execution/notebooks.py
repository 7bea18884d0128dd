"""Executed notebooks of chapters: from the cache where nothing that they depend on has changed, or executed afresh."""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bookbuild.error import BookError
from bookbuild.execution.cache import Cache
from bookbuild.execution.colophon import add_colophon
from bookbuild.execution.execute import MANY, Executed, Job, end_children, execute, hush
from bookbuild.execution.nursery import loaded_for
from bookbuild.inputs.bytecode import compile_sources
from bookbuild.inputs.key import chapter_key, ground_digest
from bookbuild.inputs.modules import Library
from bookbuild.inputs.named import Named, library_of, named_inputs
from bookbuild.inputs.states import States, states_of, walk
from bookbuild.order import Order
from bookbuild.pages.chapter import Page
from bookbuild.pages.outputs import objections
from bookbuild.pages.pairs import to_notebook
from bookbuild.pages.sizes import overrides
from moelaws.process import Habits
from moelaws.workers import Workers

INPUTS = "inputs"
"""Where in the metadata of a kept notebook it is written what it depends on."""


@dataclass(frozen=True)
class Chapter:
    """A chapter and what it depends on, before it is executed.

    Arguments:
        page: its text.
        notebook: the same as a notebook.
        named: modules that it imports, and files that it names.
        states: what these are like.
        ground: hash of what all chapters stand on.
        key: name of its entry in the cache.
    """

    page: Page
    notebook: Any
    named: Named
    states: States
    ground: str
    key: str


@dataclass(frozen=True)
class Notebooks:
    """Executed chapters.

    Arguments:
        texts: page name -> JSON of the executed notebook.
        read: what they were seen to read: path relative to the root of the book -> its state then.
    """

    texts: Mapping[str, str]
    read: States


def executed_notebooks(order: Order, pages: Sequence[Page]) -> Notebooks:
    """Executed notebook of every chapter among the pages.

    Arguments:
        order: what to build.
        pages: pages of the book; those without code are passed over.

    Raises:
        BookError: a chapter failed, showed what it should not, or something that it read changed meanwhile. What was
            executed besides is kept.
    """
    import nbformat

    order.work.mkdir(parents=True, exist_ok=True)
    cache, ground, library = Cache(order.work / "executed"), ground_digest(order.root), library_of(order.root)
    done: dict[str, Any] = {}
    waiting: dict[str, Chapter] = {}
    jobs: dict[str, Job] = {}
    reasons: list[str] = []
    for page in pages:
        if not page.is_notebook:
            continue
        try:
            chapter = chapter_of(order, page, ground, library)
            kept = None if order.force else kept_notebook(order, cache, chapter)
            if kept is not None:
                order.say(f"{page.stem}  as executed before (profile {order.profile})")
                done[page.name] = kept
                continue
            jobs[page.name], waiting[page.name] = _job(order, chapter), chapter
        except BookError as error:
            reasons += error.reasons
    if reasons:
        raise BookError(*reasons)
    for chapter in waiting.values():
        why = _why(order, cache, chapter)
        order.say(f"{chapter.page.stem}  to execute (profile {order.profile}){f': {why}' if why else ''}")

    compile_sources({order.root / name for chapter in waiting.values() for name in chapter.named.modules})
    packages = frozenset[str]().union(*(chapter.named.packages for chapter in waiting.values()))
    for executed in _execute_all(order, jobs, packages):
        chapter = waiting[executed.page]
        try:
            notebook = _accepted(order, executed, chapter)
        except BookError as error:
            order.say(f"{chapter.page.stem}  FAILED after {executed.seconds:.1f} s")
            reasons += error.reasons
            continue
        order.say(f"{chapter.page.stem}  done in {executed.seconds:.1f} s")
        cache.store(executed.page, order.profile, chapter.key, notebook)
        done[executed.page] = notebook
    if reasons:
        raise BookError(*reasons)
    read: dict[str, str] = {}
    for notebook in done.values():
        read |= notebook.metadata.pop(INPUTS)["read"]
    return Notebooks({name: nbformat.writes(notebook, version=4) for name, notebook in done.items()}, read)


def processes(count: int, hushed: bool = False) -> Workers:
    """Processes that end with this one, together with the kernels and programs that they have started.

    Arguments:
        count: how many.
        hushed: whether what they print on standard error is for nobody, see `hush`.
    """
    return Workers(count, Habits(hush if hushed else None, end=end_children), tries=1)


def chapter_of(order: Order, page: Page, ground: str, library: Library) -> Chapter:
    """Find what a chapter depends on.

    Raises:
        BookError: it cannot be read as a notebook.
    """
    notebook = to_notebook(page)
    named = named_inputs(order.root, page, notebook, library)
    states = named.states(order.root)
    return Chapter(page, notebook, named, states, ground, chapter_key(page, named, states, ground, order.profile))


def kept_notebook(order: Order, cache: Cache, chapter: Chapter) -> Any | None:
    """The chapter as it was executed before, unless something that it depends on has changed since."""
    kept = cache.load(chapter.page.name, order.profile, chapter.key)
    read = None if kept is None else kept.metadata.get(INPUTS, {}).get("read")
    return kept if read is not None and states_of(order.root, read) == read else None


def _why(order: Order, cache: Cache, chapter: Chapter) -> str:
    """Which change is the reason for executing a chapter again; empty where it never was executed, or is forced to."""
    kept = None if order.force else cache.latest(chapter.page.name, order.profile)
    before = {} if kept is None else kept.metadata.get(INPUTS, {})
    if not before:
        return ""
    old = {**before["lookups"], **before["named"], **before["read"]}
    new = {**chapter.named.lookups, **states_of(order.root, before["read"]), **chapter.states}
    changed = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    if before["text"] != chapter.page.text:
        changed.insert(0, "its text")
    if before["ground"] != chapter.ground:
        changed.insert(0, "the pins, Python or how the builder executes")
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{changed[0]}{more} changed" if changed else ""


def _job(order: Order, chapter: Chapter) -> Job:
    import nbformat

    return Job(
        page=chapter.page.name,
        notebook=nbformat.writes(chapter.notebook, version=4),
        parameters=overrides(chapter.page, chapter.notebook, order.profile),
        profile=order.profile,
        root=order.root,
    )


def _execute_all(order: Order, jobs: Mapping[str, Job], packages: Collection[str]) -> Iterator[Executed]:
    """Execute jobs side by side, and yield each when it is done; one that fails does not stop the others.

    Of many, the kernels share what they load of the packages given.
    """
    if not jobs:
        return
    loaded = loaded_for(packages) if len(jobs) >= MANY else None
    # The folder of what kernels need is made here: a process that is ended does not clear up after itself.
    with tempfile.TemporaryDirectory(prefix="kernels-") as folder:
        scratch = Path(folder)
        with processes(min(order.jobs, len(jobs)), hushed=True) as pool:
            yield from _as_done(pool, {name: replace(job, loaded=loaded) for name, job in jobs.items()}, scratch)


def _as_done(pool: Workers, jobs: Mapping[str, Job], scratch: Path) -> Iterator[Executed]:
    futures = {pool.submit(execute, job, scratch): name for name, job in jobs.items()}
    for future in as_completed(futures):
        name = futures[future]
        try:
            yield future.result()
        except Exception as error:  # the process itself broke, for want of memory as a rule
            yield Executed(name, 0.0, failure=f"{name}.md: its process ended: {type(error).__name__}: {error}")


def _accepted(order: Order, executed: Executed, chapter: Chapter) -> Any:
    """Turn an execution into a notebook fit for the cache, or say why it is not.

    Raises:
        BookError: a cell failed, an output does not belong on a page, or what it depends on changed meanwhile.
    """
    import nbformat

    if executed.notebook is None:
        raise BookError(executed.failure or f"{executed.page}.md: failed without a word")
    notebook = nbformat.reads(executed.notebook, as_version=4)
    reasons = objections(executed.page, notebook, order.root)
    # Anything in the library or the data, where the kernel could not be watched.
    names = executed.seen.names() if executed.seen.whole else _everything(order.root)
    read = states_of(order.root, names)
    changed = {*executed.seen.touched(order.root), *_changed(order, chapter)}
    if changed:
        # What it shows belongs to neither state, so it must not be kept under the key of one of them.
        reasons.append(
            f"{executed.page}.md: {sorted(changed)[0]} changed while it was executed"
            " (chapters must not write into the book); build again"
        )
    if reasons:
        raise BookError(*reasons)
    add_colophon(notebook, order.profile, executed.seconds)
    notebook.metadata[INPUTS] = {
        "text": chapter.page.text,
        "ground": chapter.ground,
        "lookups": dict(chapter.named.lookups),
        "named": dict(chapter.states),
        "read": {name: state for name, state in read.items() if name in chapter.states or not _is_door(name)},
    }
    return notebook


def _changed(order: Order, chapter: Chapter) -> list[str]:
    """What a chapter names and what has changed since it was looked at first."""
    now = states_of(order.root, chapter.states)
    changed = [name for name, state in chapter.states.items() if now[name] != state]
    return changed + ["the pins"] * (ground_digest(order.root) != chapter.ground)


def _is_door(name: str) -> bool:
    """Whether a file is the stub of a package: of it counts what a chapter takes from it, which is in its key."""
    return name.endswith("/__init__.pyi")


def _everything(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in walk([root / "lib", root / "data"])]
