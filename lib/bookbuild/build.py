"""The whole way: read the pages, execute what has changed, render, check, swap the site in."""

import hashlib
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bookbuild.error import BookError
from bookbuild.execution.notebooks import executed_notebooks, processes
from bookbuild.inputs.key import ground_digest
from bookbuild.inputs.states import digest_files
from bookbuild.lab.scripts import install_lab
from bookbuild.numbers import values_of
from bookbuild.order import Order
from bookbuild.pages.chapter import Page, read_page
from bookbuild.pages.pairs import notebook_text
from bookbuild.pages.readable import Book, quoted, read_book
from bookbuild.pages.sizes import check_profile
from bookbuild.pages.toc import read_toc
from bookbuild.site.assets import install_assets
from bookbuild.site.icons import trim_icons
from bookbuild.site.kept import Kept
from bookbuild.site.place import Made, check_place, check_site, is_current, put_in_place
from bookbuild.site.render import Tree, render
from bookbuild.site.stage import SOURCES, site_files
from moelaws.quote import shown

_DOCUMENTED = re.compile(r"^\.\. auto(function|class|exception)::(.*\n)(?:   :\w+:.*\n)*", re.MULTILINE)
"""Where a page shows what a docstring says."""


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
    digest = _site_digest(order, pages)
    if not order.force and is_current(order.place, digest, names, order.root):
        order.say(f"{order.place}: nothing changed (profile {order.profile}, {len(pages)} pages)")
        return False
    notebooks = executed_notebooks(order, pages)
    begin = time.perf_counter()
    order.say(f"site  {len(pages)} pages")
    with _folder(order) as folder:
        book = _book_of(order.root, notebooks.texts)
        tree = Tree(order.root, *_quoted(pages, notebooks.texts, book), jobs=order.jobs)
        kept = Kept(order.work / "stage" / order.profile, _site_ground(order.root), anew=order.force)
        site = _rendered(tree, folder, kept)
        install_assets(site, order.work / "assets")
        install_lab(site, order.root)
        trim_icons(site)
        _write_downloads(site, pages, book)
        check_site(site, names)
        # What changed while it was rendered may or may not stand on its pages: such a site is current for nobody.
        same = _site_digest(order, pages) == digest
        put_in_place(site, order.place, Made(digest if same else "", notebooks.read))
    order.say(f"site  done in {time.perf_counter() - begin:.1f} s: {order.place / 'index.html'}")
    return True


def build_pages(order: Order, names: Sequence[str]) -> list[Path]:
    """Build some pages: execute those that are chapters and have changed, and render them and the front page.

    The others are read, to be referred to, and not written: their code is left out, and of what they document no more
    than its name is there, because the library would be imported for the rest.

    Arguments:
        order: what to build; its place is for these pages, the site of the book lies elsewhere.
        names: of the pages, or the last parts of that, such as `isoflop`.

    Returns:
        The pages.

    Raises:
        BookError: there is no such page, or as for `build_book`.
    """
    check_place(order.place)
    pages = [read_page(order.root, name) for name in read_toc(order.root)]
    check_profile(order.profile, pages)
    chosen = _chosen(pages, names)
    notebooks = executed_notebooks(order, chosen)
    begin = time.perf_counter()
    with _folder(order) as folder:
        book = _book_of(order.root, notebooks.texts)
        about = frozenset(page.name for page in chosen)
        others = {p.name: _DOCUMENTED.sub(r".. py:\1::\2", p.text) for p in pages if p.name not in about}
        texts, executed = _quoted(chosen, notebooks.texts, book)
        site = _rendered(Tree(order.root, others | texts, executed, about, order.jobs), folder)
        install_assets(site, order.work / "assets")
        install_lab(site, order.root)
        trim_icons(site)
        _write_downloads(site, chosen, book)
        check_site(site, sorted(about))
        put_in_place(site, order.place, Made("", {}))
    made = [order.place / f"{page.name}.html" for page in chosen]
    whole = made[0] if len(made) == 1 else f"{len(made)} in {order.place}"
    order.say(f"page{'s' * (len(made) > 1)}  done in {time.perf_counter() - begin:.1f} s: {whole}")
    return made


def _chosen(pages: Sequence[Page], names: Sequence[str]) -> list[Page]:
    """The pages of these names, in the order of the book.

    Raises:
        BookError: no name, or one that is no page's.
    """
    known = {name: page for page in reversed(pages) for name in (page.stem, page.name)}
    for name in names or [""]:
        if name not in known:
            stems = ", ".join(page.stem for page in pages)
            raise BookError(f"page {shown(name)}: expected one of {stems}")
    return [page for page in pages if {page.name, page.stem} & {*names}]


def check_links(order: Order) -> None:
    """Follow every outward link of the book (this needs the network).

    Raises:
        BookError: a link is broken, or the book does not build.
    """
    pages = [read_page(order.root, name) for name in read_toc(order.root)]
    check_profile(order.profile, pages)
    notebooks = executed_notebooks(order, pages)
    with _folder(order) as folder:
        book = _book_of(order.root, notebooks.texts)
        _rendered(Tree(order.root, *_quoted(pages, notebooks.texts, book)), folder, builder="linkcheck")


def _book_of(root: Path, executed: Mapping[str, str]) -> Book:
    """The book with the numbers of this build; of chapters that it leaves out, with those recorded."""
    import nbformat

    built = {name: values_of(nbformat.reads(text, 4)) for name, text in executed.items()}
    return Book(root, {**read_book(root).numbers, **built})


def _quoted(pages: Sequence[Page], executed: Mapping[str, str], book: Book) -> tuple[dict[str, str], dict[str, str]]:
    """Texts and executed notebooks, with the numbers that they quote of other pages."""
    import nbformat

    texts = {page.name: quoted(page.text, page.name, book) for page in pages if not page.is_notebook}
    notebooks = {}
    for name, text in executed.items():
        notebook = nbformat.reads(text, 4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = quoted(cell.source, name, book)
        notebooks[name] = nbformat.writes(notebook, 4)
    return texts, notebooks


def _write_downloads(site: Path, pages: Sequence[Page], book: Book) -> None:
    """Put the notebook that a reader opens, with this build's numbers, where the page's button looks for one.

    Jupyter Book puts the executed one there: megabytes of charts, and a text that only Sphinx can read.
    """
    for page in pages:
        if page.is_notebook:
            (site / "_sources" / f"{page.name}.ipynb").write_text(notebook_text(page, book), encoding="utf-8")


@contextmanager
def _folder(order: Order) -> Iterator[Path]:
    """A folder for a site, on the file system of the builder's other work: it is moved there, not copied."""
    order.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="site-", dir=order.work) as folder:
        yield Path(folder)


def _rendered(tree: Tree, into: Path, kept: Kept | None = None, builder: str = "html") -> Path:
    with processes(1) as pool:
        return pool.submit(render, tree, into, kept, builder).result()


def _site_ground(root: Path) -> str:
    """Hash all that pages are rendered with: settings, styles, references, pictures, the builder, the packages."""
    builder = Path(__file__).parent
    files = digest_files(root, site_files(root)) + digest_files(builder.parent, [builder])
    return hashlib.sha256(f"{ground_digest(root)}\n{files}".encode()).hexdigest()


def _site_digest(order: Order, pages: Sequence[Page]) -> str:
    """Hash everything a site is made of: pages may include any file of the library and the data."""
    texts = [f"{page.name}\n{page.text}" for page in pages]
    folders = [order.root / name for name in SOURCES]
    files = digest_files(order.root, [*site_files(order.root), *folders])
    return hashlib.sha256("\n".join([ground_digest(order.root), order.profile, files, *texts]).encode()).hexdigest()
