"""Ctrl-C, SIGTERM and SIGKILL: a command ends with a sentence, leaves nothing running and nothing half written."""

import csv
import io
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

import pytest

from bookbuild.site.place import STAMP
from books import copy_small_book
from moelaws.files import write_whole
from moelaws.provenance import code_version, machine
from moelaws.sweeping.sweep import run_sweep
from random_kills import Tally, book_line, disturb, disturb_script, sweep_line, undisturbed_seconds
from repository import ROOT
from small_sweep import PROVENANCE, RUNS, Inline, rows, tiny_sweep, undisturbed, with_tests

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
RESULTS = ROOT / "benchmarks" / "results" / "signals.json"


# --- one command each, interrupted in the middle of its work ----------------------------------------------------

# All commands are ended by one function: of each kind (with torch, without, of the book) one is enough for a sample.
LONG = pytest.mark.validate

# The signal comes from the process itself, at the moment when it calls the function named.
STRUCK = """
import os, signal, sys, time
from unittest import mock

def struck(*_, **__):
    os.kill(os.getpid(), signal.{signal})
    time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)
with mock.patch({function!r}, struck):
    sys.argv = ["{program}", *{arguments!r}]
    from {program} import main
    sys.exit(main())
"""


def struck(function: str, *arguments: str, number: str = "SIGINT") -> subprocess.CompletedProcess[str]:
    """``moelaws`` (after ``book``, ``bookbuild``) with these arguments, and a signal when it comes to a function."""
    of_book = arguments[0] == "book"
    script = STRUCK.format(
        function=function, arguments=arguments[of_book:], signal=number,
        program="bookbuild.command" if of_book else "moelaws.cli",
    )  # fmt: skip
    line = [sys.executable, "-c", script]
    return subprocess.run(line, env=with_tests(), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (
            "moelaws.fitting.intervals.uncertainty.bootstrap",
            "fit data/runs/isoflop.csv --law hoffmann2022 --bootstrap 20",
        ),
        pytest.param("moelaws.surfaces.analysis.fit_surface", "isoflop data/runs/isoflop.csv", marks=LONG),
        # Decoded by torch: what compiles is not waited for here, and takes ten seconds where nothing is compiled yet.
        ("moelaws.measuring.grid.in_passes", "measure tiny:d=16,E=2 --engine eager"),
        ("moelaws.probing.probing.probe_runs", "probe data/runs/isoflop.csv --where seed==0"),
        ("moelaws.cli.plan.plan", "plan --train-flops 1e20"),
        pytest.param("moelaws.sweeping.rerun.rerun", "rerun data/runs/isoflop.csv", marks=LONG),
        ("bookbuild.build.build_book", "book build"),
        pytest.param("bookbuild.pages.pairs.write_pairs", "book sync", marks=LONG),
    ],
)
def test_every_command_ends_with_one_sentence(function: str, arguments: str, tmp_path: Path) -> None:
    given = arguments.split()
    if given[0] == "probe":
        given += ["--out", str(tmp_path / "probes.csv")]
    number = random.Random(function).choice(["SIGINT", "SIGTERM"])
    done = struck(function, *given, number=number)
    assert done.returncode == {"SIGINT": 130, "SIGTERM": 143}[number], done.stderr
    assert re.fullmatch(r"(moelaws|bookbuild): interrupted; .{10,300}\n", done.stderr), done.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_import_that_is_interrupted_ends_at_once(number: str) -> None:
    done = struck("moelaws.cli.make_parser", "plan", "--train-flops", "1e20", number=number)
    assert done.returncode == {"SIGINT": 130, "SIGTERM": 143}[number]
    assert (done.stdout, done.stderr) == ("", "moelaws: interrupted; nothing was written\n")


def ended(body: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """A command of these tests' own, whose body is given."""
    script = (
        "import os, signal, sys, time\nfrom moelaws.interrupt import begun, interruptible, promise\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def strike():\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "def command():\n    begun()\n" + textwrap.indent(textwrap.dedent(body), "    ") + "\n    return 0\n"
        "sys.exit(interruptible('test', command, whole_process=True))\n"
    )
    line = [sys.executable, "-c", script]
    return subprocess.run(line, env=with_tests(), capture_output=True, text=True, timeout=timeout, check=False)


@pytest.mark.parametrize(
    "body",
    [
        # Python can raise nothing from a destructor: it prints, and goes on.
        """
        class Dying:
            def __del__(self):
                strike()
                time.sleep(0.1)
        Dying()
        time.sleep(60)
        """,
        # Libraries that import something if they can.
        """
        try:
            strike()
            time.sleep(60)
        except BaseException:
            pass
        time.sleep(60)
        """,
        # An interrupted import may look like a missing package.
        """
        try:
            strike()
            time.sleep(60)
        except BaseException as error:
            raise ImportError("half imported") from error
        """,
        # Impatience.
        """
        try:
            strike()
            time.sleep(60)
        finally:
            for _ in range(20):
                strike()
                time.sleep(0.01)
        """,
        # A wait that no signal ends, because another thread was given it.
        """
        import threading
        def elsewhere():
            time.sleep(0.2)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        threading.Thread(target=elsewhere, daemon=True).start()
        threading.Lock().acquire() and threading.Event().wait()
        """,
    ],
    ids=["swallowed by a destructor", "caught by a library", "an import error", "five times", "in another thread"],
)
def test_no_signal_is_lost_and_none_is_told_twice(body: str) -> None:
    begin = time.monotonic()
    done = ended(body)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "test: interrupted; nothing was written\n")
    assert time.monotonic() - begin < 30


def test_what_a_reader_still_has_is_said() -> None:
    done = ended("""
        with promise(lambda: "outer"), promise(lambda: "all is safe"):
            strike()
            time.sleep(60)
    """)
    assert (done.returncode, done.stderr) == (130, "test: interrupted; all is safe\n")


def test_a_promise_that_cannot_be_looked_at_does_not_keep_the_command() -> None:
    done = ended("""
        with promise(lambda: time.sleep(60)):
            strike()
            time.sleep(60)
    """)
    assert (done.returncode, done.stderr) == (130, "test: interrupted; what was recorded is safe\n")


def test_a_command_that_was_told_to_ignore_ctrl_c_does(tmp_path: Path) -> None:
    done = ended("print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)")
    assert done.stdout == "False\n"
    script = "import signal\nfrom moelaws.cli import main\nmain(['fit', '--laws'])\n"
    script = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{script}signal.raise_signal(signal.SIGINT)"
    line = [sys.executable, "-c", script]
    assert subprocess.run(line, env=with_tests(), capture_output=True, timeout=60, check=False).returncode == 0


# --- workers -----------------------------------------------------------------------------------------------------


def tally_of_workers(tries: int, _: Path, numbers: object = None) -> list[Tally]:
    """Ctrl-C while workers start and while they work; see tests/cases/interrupt."""
    dice, tally = random.Random(0), Tally("workers, SIGINT")
    script = ROOT / "tests" / "cases" / "interrupt" / "workers.py"
    for _ in range(tries):
        disturb_script(tally, script, dice.uniform(0.02, 2.5))
    return [tally]


# --- random moments ----------------------------------------------------------------------------------------------


def table_faults(path: Path) -> str:
    """What is wrong with the table of a tiny sweep; a line cut short by KILL is made good at the next start."""
    if not path.exists():
        return ""
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    found = {row["run_id"]: row for row in csv.DictReader(io.StringIO(whole))}
    if whole.count("\n") != len(found) + bool(whole):
        return "a run has two rows"
    for run_id, row in found.items():
        if {name: row[name] for name in row if name not in PROVENANCE} != undisturbed()[run_id]:
            return f"run {run_id} has another row than it should"
    return ""


def tally_of_sweeps(
    tries: int,
    folder: Path,
    numbers: Sequence[signal.Signals] = SIGNALS,
    seconds: float | None = None,
    workers: int = 2,
) -> list[Tally]:
    """Sweeps that are ended and begun again, by one signal after the other, until they are through; then a new one.

    Args:
        tries: of each signal.
        folder: for tables.
        numbers: these signals.
        seconds: the latest moment; that of the undisturbed sweep if not given.
        workers: processes of the sweep; each takes seconds to start.
    """
    dice, tallies = random.Random(0), {number: Tally(f"sweep, {number.name}") for number in numbers}
    seconds = seconds or undisturbed_seconds(sweep_line(folder / "first.csv", workers))
    path = folder / "runs.csv"
    for number in [*numbers] * tries:
        disturb(tallies[number], sweep_line(path, workers), number, seconds, lambda: table_faults(path), dice)
        if path.exists() and path.read_text().count("\n") > RUNS:
            path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a line cut short
        run_sweep(tiny_sweep(), path, executor=Inline())
    assert rows(path) == undisturbed()
    return list(tallies.values())


def site_faults(root: Path, since: int) -> str:
    """What is wrong with a site that is built again and again, from a page that counts; nothing before the first, 0."""
    site = root / "_build" / "html"
    if since == 0 and not site.exists():
        return ""
    try:
        stamp = json.loads((site / STAMP).read_text())
        lost = [name for name, size in stamp["files"].items() if (site / name).stat().st_size != size]
        count = int(re.search(r"count (\d+)\.", (site / "tables.html").read_text())[1])  # type: ignore[index]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    if lost:
        return f"{lost[0]} is not what the stamp says"
    return "" if count >= since else f"build {count} is back, and {since} was there"


def tally_of_books(
    tries: int, folder: Path, numbers: Sequence[signal.Signals] = SIGNALS, seconds: float | None = None
) -> list[Tally]:
    """Builds of a small book, each with another page and another chapter than the one before; see tally_of_sweeps."""
    dice, tallies = random.Random(0), {number: Tally(f"book, {number.name}") for number in numbers}
    root = copy_small_book(folder / "book")
    chapter, page = root / "chapters" / "bars.md", root / "tables.md"
    texts = chapter.read_text(), page.read_text()
    (root / "chapters" / "lines.md").unlink()
    quoted = " Three is {glue:text}`chapters/lines:three`."
    for file, line in (
        ("_toc.yml", "  - file: chapters/lines\n"), ("index.md", "{doc}`chapters/lines` and "), ("index.md", quoted)
    ):  # fmt: skip
        (root / file).write_text((root / file).read_text().replace(line, ""))

    def change(count: int) -> None:
        chapter.write_text(f"{texts[0]}\nThis is count {count}.\n")
        page.write_text(f"{texts[1]}\nThis is count {count}.\n")

    change(1)
    since = 0 if seconds else 1
    seconds = seconds or undisturbed_seconds(book_line(root))
    for count, number in enumerate([*numbers] * tries, start=2):
        change(count)
        disturb(tallies[number], book_line(root), number, seconds, lambda: site_faults(root, since), dice)
    return list(tallies.values())


def assert_clean(tallies: list[Tally]) -> None:
    assert all(tally.clean for tally in tallies), [tally.details for tally in tallies]


@pytest.mark.timeout(900)
def test_sweeps_ended_at_random(tmp_path: Path) -> None:
    assert_clean(tally_of_sweeps(1, tmp_path, seconds=4, workers=1))


@pytest.mark.timeout(900)
def test_books_ended_at_random(tmp_path: Path) -> None:
    assert_clean(tally_of_books(1, tmp_path, (signal.SIGKILL,), seconds=4))


@pytest.mark.timeout(300)
def test_workers_that_start_are_ended_by_ctrl_c(tmp_path: Path) -> None:
    assert_clean(tally_of_workers(2, tmp_path))


@pytest.mark.validate
@pytest.mark.timeout(12 * 3600)
@pytest.mark.parametrize(
    ("what", "number"),
    [(tally_of_workers, signal.SIGINT), *product((tally_of_sweeps, tally_of_books), SIGNALS)],
    ids=lambda given: given.name if isinstance(given, signal.Signals) else given.__name__,
)
def test_a_hundred_of_each(what: Callable[..., list[Tally]], number: signal.Signals, tmp_path: Path) -> None:
    tallies = what(100, tmp_path, (number,))
    record = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    about = {"machine": machine(), "python": platform.python_version(), "code": code_version()}
    for tally in tallies:
        record[tally.what] = asdict(tally) | about | {"slowest": round(tally.slowest, 2), "load": os.getloadavg()[0]}
    write_whole(RESULTS, json.dumps(record, indent=1) + "\n")
    assert_clean(tallies)


@pytest.fixture(autouse=True)
def no_mark_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOELAWS_TESTS_MARK", raising=False)
