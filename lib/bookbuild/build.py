"""The whole way: read the pages, execute what has changed, render, check, swap the site in."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bookbuild.assets import install_assets
from bookbuild.cache import Cache, chapter_key, digest_files, shared_digest
from bookbuild.colophon import add_colophon
from bookbuild.error import BookError
from bookbuild.execute import Executed, Job, end_children, execute
from bookbuild.pages.chapter import FULL, Page, read_page
from bookbuild.pages.outputs import objections
from bookbuild.pages.pairs import to_notebook
from bookbuild.pages.sizes import check_profile, overrides
from bookbuild.pages.toc import read_toc
from bookbuild.site import check_place, check_site, is_current, put_in_place, render
from bookbuild.stage import site_files, write_stage
from moelaws.process import Habits
from moelaws.workers import Workers


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


def build_book(order: Order) -> bool:
    """Build the book where anything changed since the site in place was made.

    Arguments:
        order: what to build.

    Returns:
        True where a new site was made, False where the one in place is current.

    Raises:
        BookError: pages, profile or place are wrong, a chapter failed, or a page is missing or draws a warning. The
            site in place is left as it was, and nothing is kept that would let the next build pass.
    """
    check_place(order.place)
    names = read_toc(order.root)
    pages = [read_page(order.root, name) for name in names]
    check_profile(order.profile, pages)
    shared = shared_digest(order.root)
    digest = _site_digest(order, pages, shared)
    if not order.force and is_current(order.place, digest, names):
        order.say(f"{order.place}: nothing changed (profile {order.profile}, {len(pages)} pages)")
        return False
    notebooks = _notebooks(order, pages, shared)
    begin = time.perf_counter()
    order.say(f"site  {len(pages)} pages")
    with tempfile.TemporaryDirectory(prefix="stage-") as folder:
        write_stage(Path(folder), order.root, _texts(pages), notebooks)
        site = _rendered(Path(folder))
        install_assets(site, order.work / "assets")
        check_site(site, names)
        put_in_place(site, order.place, digest)
    order.say(f"site  done in {time.perf_counter() - begin:.1f} s: {order.place / 'index.html'}")
    return True


def check_links(order: Order) -> None:
    """Follow every outward link of the book (this needs the network).

    Raises:
        BookError: a link is broken, or the book does not build.
    """
    pages = [read_page(order.root, name) for name in read_toc(order.root)]
    check_profile(order.profile, pages)
    notebooks = _notebooks(order, pages, shared_digest(order.root))
    with tempfile.TemporaryDirectory(prefix="stage-") as folder:
        write_stage(Path(folder), order.root, _texts(pages), notebooks)
        _rendered(Path(folder), "linkcheck")


def _processes(count: int) -> Workers:
    """Processes that end with this one, together with the kernels and programs that they have started."""
    return Workers(count, Habits(end=end_children), tries=1)


def _rendered(stage: Path, builder: str = "html") -> Path:
    with _processes(1) as pool:
        return pool.submit(render, stage, builder).result()


def _texts(pages: Sequence[Page]) -> dict[str, str]:
    return {page.name: page.text for page in pages if not page.is_notebook}


def _site_digest(order: Order, pages: Sequence[Page], shared: str) -> str:
    """Hash everything a site is made of. Executed notebooks enter by their keys, which stand for all they show."""
    keys = [chapter_key(page, shared, order.profile) for page in pages]
    files = digest_files(order.root, site_files(order.root))
    return hashlib.sha256("\n".join([shared, order.profile, files, *keys]).encode()).hexdigest()


def _notebooks(order: Order, pages: Sequence[Page], shared: str) -> dict[str, str]:
    """Executed notebook of every chapter, from the cache or from a fresh execution."""
    import nbformat

    order.work.mkdir(parents=True, exist_ok=True)
    cache = Cache(order.work / "executed")
    notebooks: dict[str, str] = {}
    jobs: dict[str, Job] = {}
    reasons: list[str] = []
    for page in pages:
        if not page.is_notebook:
            continue
        key = chapter_key(page, shared, order.profile)
        cached = None if order.force else cache.load(page.name, order.profile, key)
        if cached is not None:
            order.say(f"{page.stem}  as executed before (profile {order.profile})")
            notebooks[page.name] = nbformat.writes(cached, version=4)
            continue
        try:
            jobs[key] = _job(order, page)
        except BookError as error:
            reasons += error.reasons
    if reasons:
        raise BookError(*reasons)

    for key, executed in _execute_all(order, jobs):
        try:
            notebook = _accepted(order, executed, shared)
        except BookError as error:
            order.say(f"{executed.page.rsplit('/', 1)[-1]}  FAILED after {executed.seconds:.1f} s")
            reasons += error.reasons
            continue
        order.say(f"{executed.page.rsplit('/', 1)[-1]}  done in {executed.seconds:.1f} s")
        cache.store(executed.page, order.profile, key, notebook)
        notebooks[executed.page] = nbformat.writes(notebook, version=4)
    if reasons:
        raise BookError(*reasons)
    return notebooks


def _job(order: Order, page: Page) -> Job:
    import nbformat

    notebook = to_notebook(page)
    return Job(
        page=page.name,
        notebook=nbformat.writes(notebook, version=4),
        parameters=overrides(page, notebook, order.profile),
        profile=order.profile,
        folder=(order.root / page.name).parent,
    )


def _execute_all(order: Order, jobs: Mapping[str, Job]) -> Iterator[tuple[str, Executed]]:
    """Execute jobs side by side, and yield each when it is done; one that fails does not stop the others."""
    if not jobs:
        return
    # The folder of what kernels need is made here: a process that is ended does not clear up after itself.
    with tempfile.TemporaryDirectory(prefix="kernels-") as scratch, _processes(min(order.jobs, len(jobs))) as pool:
        futures = {pool.submit(execute, job, Path(scratch)): key for key, job in jobs.items()}
        for job in jobs.values():
            order.say(f"{job.page.rsplit('/', 1)[-1]}  to execute (profile {order.profile})")
        for future in as_completed(futures):
            key = futures[future]
            try:
                yield key, future.result()
            except Exception as error:  # the process itself broke, for want of memory as a rule
                failure = f"{jobs[key].page}.md: its process ended: {type(error).__name__}: {error}"
                yield key, Executed(jobs[key].page, 0.0, failure=failure)


def _accepted(order: Order, executed: Executed, shared: str) -> Any:
    """Turn an execution into a notebook fit for the cache, or say why it is not.

    Raises:
        BookError: a cell failed, an output does not belong on a page, or library or data changed meanwhile.
    """
    import nbformat

    if executed.notebook is None:
        raise BookError(executed.failure or f"{executed.page}.md: failed without a word")
    notebook = nbformat.reads(executed.notebook, as_version=4)
    reasons = objections(executed.page, notebook, order.root)
    if shared_digest(order.root) != shared:
        # What it shows belongs to neither state, so it must not be kept under the key of one of them.
        reasons.append(
            f"{executed.page}.md: lib/, data/ or the pins changed while the book was executed"
            " (chapters must not write there); build again"
        )
    if reasons:
        raise BookError(*reasons)
    add_colophon(notebook, order.profile, executed.seconds)
    return notebook
