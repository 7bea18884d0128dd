"""`python -m bookbuild`: build the site or a chapter, write pairs, follow links, print, hand out, show, deposit."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bookbuild.error import BookError
from moelaws.cli import command_line
from moelaws.interrupt import interrupted, promise
from moelaws.quote import plain, sentence, shown

if TYPE_CHECKING:
    from bookbuild.build import Order
    from moelaws.cli.boundary import Parser

_MOST_JOBS = 64


def run(args: argparse.Namespace) -> int:
    """Carry out a parsed command.

    Returns:
        Exit status: 0, or 1 after saying on standard error what is wrong.
    """
    try:
        root = _root(args.root)
        if args.action == "sync":
            return _sync(root, args.check)
        if args.action == "numbers":
            return _numbers(root, args)
        if args.action == "handout":
            return _handout(root, args.out)
        if args.action == "pdf":
            return _pdf(root, args)
        if args.action == "slides":
            return _slides(root, args)
        if args.action == "dataset":
            return _dataset(root, args.out)
        return _build(root, args)
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed; the book needs the extra: moelaws[book]", file=sys.stderr)
        return 1
    except BookError as error:
        if interrupted():
            raise
        return _refuse(*error.reasons)
    except OSError as error:
        if interrupted():
            raise
        return _refuse(_what_failed(error))


def _what_failed(error: OSError) -> str:
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        _, place, why = error.args[0][0]  # the first of the files that could not be copied
        return f"{place}: {why}"
    return f"{error.filename or 'the system'}: {error.strerror or error}"


def _refuse(*reasons: str) -> int:
    for reason in reasons:
        print(sentence(f"error: {reason}"), file=sys.stderr)
    count = len(reasons)
    print(f"The book was not built: {count} error{'s' * (count > 1)}.", file=sys.stderr, flush=True)
    return 1


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m bookbuild`."""
    return command_line("bookbuild", _make_parser, argv)


def _make_parser() -> "Parser":
    from moelaws.cli.boundary import Parser

    parser = Parser(prog="python -m bookbuild", description=__doc__)
    add_actions(parser)
    parser.set_defaults(run=run)
    return parser


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Add what the builder can do to a parser."""
    actions = parser.add_subparsers(dest="action", required=True)
    sync = actions.add_parser(
        "sync",
        help="write chapters/*.ipynb and the table of teaching.md from chapters/*.md, and the repository's address from"
        " pyproject.toml",
    )
    sync.add_argument("--check", action="store_true", help="write nothing; say what is out of step")
    build = actions.add_parser("build", help="execute what has changed and build the site")
    some = actions.add_parser("chapter", help="execute and render one page or a few, into a folder of their own")
    some.add_argument("names", nargs="*", metavar="name", help="of a chapter or another page, such as isoflop")
    links = actions.add_parser("linkcheck", help="follow every outward link of the book")
    handout = actions.add_parser("handout", help="write the chapters without answers, the answers, and the data")
    handout.add_argument("--out", type=Path, help="folder to write (default: _build/handout)")
    pdf = actions.add_parser("pdf", help="print the built site: cover, contents and all pages in one file")
    pdf.add_argument("--site", type=Path, help="folder of the built site (default: _build/html)")
    pdf.add_argument("--out", type=Path, help="file to write (default: _build/moelaws.pdf)")
    slides = actions.add_parser("slides", help="write the slides of each lesson, with figures of the built site")
    slides.add_argument("--site", type=Path, help="folder of the built site (default: _build/html)")
    slides.add_argument("--out", type=Path, help="folder to write (default: _build/slides)")
    dataset = actions.add_parser("dataset", help="write the recorded tables as an archive to deposit")
    dataset.add_argument("--out", type=Path, help="file to write (default: _build/dataset/moelaws-runs.zip)")
    numbers = actions.add_parser("numbers", help="print the values glued into the text, or compare two builds")
    numbers.add_argument("--write", type=Path, help="write them to this file instead")
    numbers.add_argument("--against", type=Path, help="compare with such a file: exit 1 and a line for each difference")
    numbers.add_argument("--profile", default="full", help="sizes the chapters ran at (default: full)")
    for action in (sync, build, some, links, numbers, handout, pdf, slides, dataset):
        action.add_argument("--root", type=Path, help="folder of the book (default: the nearest one with _toc.yml)")
    for action in (build, some, links):
        action.add_argument("--profile", default="full", help="sizes the chapters run at (default: full)")
        action.add_argument("--jobs", type=int, default=2, help="chapters executed at a time (default: 2)")
        action.add_argument("--force", action="store_true", help="execute and render even what has not changed")
    build.add_argument("--out", type=Path, help="folder of the site (default: _build/html)")
    some.add_argument("--out", type=Path, help="folder of their site (default: _build/chapter)")


def _root(given: Path | None) -> Path:
    if given is not None:
        return _resolved("--root", given)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").is_file():
            return folder
    raise BookError(f"{here}: neither this folder nor one above holds _toc.yml; name the book with --root")


def _resolved(option: str, given: Path) -> Path:
    try:
        return given.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a name that no folder can have, or a loop of links
        reason = getattr(error, "strerror", None) or error
        raise BookError(f"{option} {shown(str(given))}: expected the name of a folder ({reason})") from None


def _sync(root: Path, check: bool) -> int:
    from bookbuild.pages.address import stale_addresses, write_addresses
    from bookbuild.pages.pairs import stale_pairs, write_pairs
    from bookbuild.pages.toc import read_toc
    from bookbuild.teaching import stale_teaching, write_teaching

    names = read_toc(root)
    if not check:
        with promise(lambda: "each pair that was written is whole, the same command goes on"):
            for path in [*write_addresses(root), *write_pairs(root, names), *write_teaching(root, names)]:
                print(f"{path}: written")
        return 0
    reasons = [*stale_addresses(root), *stale_pairs(root, names), *stale_teaching(root, names)]
    for reason in reasons:
        print(f"error: {reason}", file=sys.stderr)
    return 1 if reasons else 0


def _handout(root: Path, out: Path | None) -> int:
    from bookbuild.handout import write_handout

    folder = _resolved("--out", out) if out else root / "_build" / "handout"
    written = write_handout(root, folder)
    print(f"{folder}: {len(written)} files and the data")
    return 0


def _pdf(root: Path, args: argparse.Namespace) -> int:
    from bookbuild.printing.book import NAME, print_site

    site = _resolved("--site", args.site) if args.site else root / "_build" / "html"
    out = _resolved("--out", args.out) if args.out else root / "_build" / NAME
    if out.suffix.lower() != ".pdf":
        raise BookError(f"--out {shown(str(out))}: expected a file name that ends in .pdf")
    if out.is_file() and not out.read_bytes()[:5] == b"%PDF-":
        raise BookError(f"{out}: expected a PDF to replace, found another file; name another place")
    with promise(lambda: f"{out} is as it was, or whole"):
        printed = print_site(root, site, out)
    print(f"{out}: {printed.sheets} pages")
    return 0


def _slides(root: Path, args: argparse.Namespace) -> int:
    from bookbuild.slides.deck import write_slides

    site = _resolved("--site", args.site) if args.site else root / "_build" / "html"
    folder = _resolved("--out", args.out) if args.out else root / "_build" / "slides"
    written = write_slides(root, site, folder)
    print(f"{folder}: {len(written) - 1} lessons; begin with {written[-1]}")
    return 0


def _dataset(root: Path, given: Path | None) -> int:
    from moelaws.datasets.archive import DatasetError, make_archive

    out = _resolved("--out", given) if given else root / "_build" / "dataset" / "moelaws-runs.zip"
    try:
        with promise(lambda: f"{out} is as it was, or whole"):
            made = make_archive(out, root)
    except DatasetError as error:
        raise BookError(str(error)) from None
    print(f"{made}: {made.stat().st_size / 1e6:.2f} MB")
    return 0


def _numbers(root: Path, args: argparse.Namespace) -> int:
    from bookbuild.numbers import differences, glued_numbers, numbers_text, read_numbers, write_numbers

    numbers = glued_numbers(root / "_build" / "executed" / args.profile)
    count = sum(map(len, numbers.values()))
    if args.against is not None:
        found = differences(read_numbers(args.against), numbers)
        for line in found:
            print(line)
        print(f"{count} values in {len(numbers)} chapters, {len(found)} differ from {args.against}")
        return 1 if found else 0
    if args.write is None:
        print(numbers_text(numbers), end="")
    else:
        write_numbers(args.write, numbers)
        print(f"{count} values in {len(numbers)} chapters written to {args.write}")
    return 0


def _build(root: Path, args: argparse.Namespace) -> int:
    from bookbuild.build import Order, build_book, build_pages, check_links

    if not 1 <= args.jobs <= _MOST_JOBS:
        raise BookError(f"--jobs {plain(args.jobs)}: expected from 1 to {_MOST_JOBS} chapters at a time")
    usual = root / "_build" / ("chapter" if args.action == "chapter" else "html")
    place = _resolved("--out", getattr(args, "out", None) or usual)
    order = Order(root=root, place=place, profile=args.profile, jobs=args.jobs, force=args.force)
    with promise(lambda: _kept(order)):
        if args.action == "linkcheck":
            check_links(order)
        elif args.action == "chapter":
            build_pages(order, args.names)
        else:
            build_book(order)
    return 0


def _kept(order: "Order") -> str:
    site = f"the site in {order.place} is whole" if (order.place / "index.html").is_file() else "there is no site yet"
    return f"{site}, and the chapters that were executed are kept"
