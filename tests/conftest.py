"""Books, browsers and a gate that several test modules share."""

import gc
import importlib
import os
import shutil
import stat
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from books import copy_small_book, sampled_pages
from moelaws.files import cache_folder
from repository import ROOT
from small_sweep import Gate

# Modules of long tests that share nothing: any process may take any of them.
SPREAD = {"test_book", "test_book_faults", "test_signals", "test_sweep_faults"}

# Modules that take longest come first, after the books: one that began last would be waited for.
LONG = ("test_dask", "test_signals", "test_sweep_faults", "test_one_verdict", "test_probes", "test_resume")

# What takes seconds to import, or to begin: the modules whose tests ask for it share a process.
DEAR = ("transformers",)

BOOKS = ("book_site", "sample_site", "whole_site", "small_site")
"""The built books that tests look at, see the fixtures; the first takes longest."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_configure() -> None:
    """Tests with a cache of their own find what was compiled on this machine: to compile it takes ten seconds."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder()))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--site", type=Path, help="look at this built site of the book, and run no other test")


@pytest.fixture
def small_book(tmp_path: Path) -> Path:
    """A fresh copy of the small book, to change and to build."""
    return copy_small_book(tmp_path / "book")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread, on which layers are compiled."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small book, built once with the profile `smoke`; only to look at."""
    from bookbuild.build import Order, build_book

    root = copy_small_book(tmp_path_factory.mktemp("small") / "book")
    build_book(Order(root=root, place=root / "_build" / "html", profile="smoke"))
    return root / "_build" / "html"


@pytest.fixture(scope="session")
def sample_site() -> Path:
    """Pages of this book (``books.pages_of``), built with the profile `smoke`; the cache has unchanged chapters."""
    from filelock import FileLock

    from bookbuild.build import Order, build_pages

    place = ROOT / "_build" / "sample"
    place.parent.mkdir(exist_ok=True)
    # One builds, and the other processes of these tests (or of other tests in this folder) find it built.
    with FileLock(place.with_name("sample.lock")):
        # One chapter at a time: other processes of these tests are at work.
        build_pages(Order(root=ROOT, place=place, profile="smoke", jobs=1), [page.name for page in sampled_pages()])
    return place


@pytest.fixture(scope="session")
def book_site(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Path:
    """Pages of this book; with `--site`, the site of this book that lies there, with all pages."""
    site: Path = request.getfixturevalue("whole_site" if pytestconfig.getoption("site") else "sample_site")
    return site


@pytest.fixture(scope="session")
def whole_site(pytestconfig: pytest.Config) -> Path:
    """The site of this book that `--site` names; without it, tests that ask for all pages are left out."""
    site: Path = pytestconfig.getoption("site")
    if not (site / ".book.json").is_file():
        pytest.fail(f"--site {site}: expected a built site, found none; `make book` builds it", pytrace=False)
    return site.resolve()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as driver:
        # Containers and CI run as root, where Chromium's sandbox cannot; the pages are our own files.
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Look for no garbage while modules are imported: there is little, and all that was imported is looked at again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the tests for this machine and this call, and say which of them belong together.

    What needs a CUDA device is left out where there is none, and what takes minutes where nobody asks for it: chosen
    here, not skipped by the test. The tests of a module share a process, because they share what it makes; so do
    those that look at a built book, which come first, because they take longest, and those that ask for what is dear.
    """
    left_out = [item for item in items if item.get_closest_marker("cuda") and not _cuda()]
    if "validate" not in config.option.markexpr:
        left_out += [item for item in items if item.get_closest_marker("validate") and item not in left_out]
    unwanted = {"small_site", "sample_site"} if config.getoption("site") else {"whole_site"}
    left_out += [item for item in items if _books(item) & unwanted and item not in left_out]
    if config.getoption("site"):
        left_out += [item for item in items if not _books(item) and item not in left_out]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    dear = {item.path: name for item in items for name in DEAR if name in getattr(item, "fixturenames", ())}
    for item in items:
        module, books = item.path.stem, _books(item)
        if books:
            # Nobody who looks at the small book waits until the other is built.
            item.add_marker(pytest.mark.xdist_group("small_site" if books == {"small_site"} else "book_site"))
            item.add_marker(pytest.mark.timeout(1800))
        elif module not in SPREAD:
            item.add_marker(pytest.mark.xdist_group(dear.get(item.path, module)))
    items.sort(key=lambda item: (*(book not in _books(item) for book in BOOKS), item.path.stem not in LONG))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Set aside what was imported: a collection of garbage, which a measurement begins with, then takes no tenth of a
    second, in which it looks at half a million objects that stay.

    Raises:
        pytest.UsageError: if the groups were lost, as with a pytest that xdist does not know: two processes would
            each wait for the other's book.
    """
    if session.config.getoption("loadgroup", False):
        for item in session.items:
            if item.get_closest_marker("xdist_group") and "@" not in item.nodeid:
                raise pytest.UsageError(f"{item.nodeid}: expected its group of tests, which this pytest-xdist lost")
    gc.collect()
    gc.freeze()
    # And rarely look at what tests import later, such as the half a million objects of transformers.
    gc.set_threshold(700, 10, 50)


def _books(item: pytest.Item) -> set[str]:
    """Which of the built books a test looks at."""
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    parts = chain.from_iterable(each if isinstance(each, tuple) else (each,) for each in parameters)
    named = {name for name in (*getattr(item, "fixturenames", ()), *parts) if isinstance(name, str)}
    return named & {*BOOKS}


@lru_cache
def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture
def devices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the devices ``null`` and ``full``; for root, who could put files in their place, with its own."""
    folder = tmp_path_factory.mktemp("devices")
    for number, name in ((3, "null"), (7, "full")):
        try:
            if os.geteuid() == 0:
                os.mknod(folder / name, stat.S_IFCHR | 0o666, os.makedev(1, number))
            else:
                (folder / name).symlink_to(f"/dev/{name}")
            os.close(os.open(folder / name, os.O_WRONLY))
        except OSError as error:
            pytest.skip(f"no device {name} here: {error}")
    return folder


@pytest.fixture(scope="session")
def transformers() -> Any:
    """The library, whose import takes seconds: for the process whose tests ask for it."""
    return importlib.import_module("transformers")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A closed gate, which ``gated_row`` waits for in the processes that a test starts."""
    with Gate(tmp_path / "gate").closed() as closed:
        yield closed
