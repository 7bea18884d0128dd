"""Kernels of many chapters share what they load, and nothing else."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from bookbuild.build import Order
from bookbuild.error import BookError
from bookbuild.execution.cache import Cache
from bookbuild.execution.execute import MANY
from bookbuild.execution.notebooks import INPUTS, executed_notebooks
from bookbuild.pages.chapter import read_page
from moelaws.process import Habits, TiedProcess
from small_sweep import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nurseries are used on Linux")

HEADER = "---\nkernelspec: {name: python3, display_name: Python 3, language: python}\n---\n\n# Title\n\n"

# What a program can ask about the process that it runs in.
ASKED = """
import json, multiprocessing, os, pathlib, signal, sys
ours = [name for name in sys.modules if name.partition(".")[0] in ("moelaws", "howmany", "bookbuild")]
own = {"JPY_PARENT_PID", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MOELAWS_BOOK_LOG", "JPY_SESSION_NAME"}
environment = {name: value for name, value in os.environ.items() if name not in own}
session = os.getsid(0) == os.getpid() == os.getpgid(0)
print(json.dumps([sys.path, os.getcwd(), ours, environment, sys.flags.hash_randomization, hash("x"), session,
    os.path.basename(sys.argv[0]).removesuffix(".py"), os.readlink(f"{os.sep}proc{os.sep}self{os.sep}fd{os.sep}1"),
    str(signal.getsignal(signal.SIGINT)), "__file__" in globals(), __name__]).replace("/", "|"))
"""  # a page may show no path
DRAWN = "import numpy\nprint(numpy.random.random(), __import__('random').random(), __import__('os').getppid())"


def chapters(book: Path, **cells: str) -> None:
    """The chapters of a book: one cell each."""
    for name, cell in cells.items():
        tagged = "```{code-cell} ipython3\n:tags: [parameters]\n\nsize = 1\n```\n\n"
        (book / "chapters" / f"{name}.md").write_text(f"{HEADER}{tagged}```{{code-cell}} ipython3\n{cell}\n```\n")


def execute(book: Path, *names: str) -> list[str]:
    """Execute chapters, one after the other; returns what was wrong."""
    pages = [read_page(book, f"chapters/{name}") for name in names]
    try:
        executed_notebooks(Order(root=book, place=book / "site", jobs=1), pages)
    except BookError as error:
        return list(error.reasons)
    return []


def kept(book: Path, name: str) -> Any:
    """A chapter as it was executed."""
    return Cache(book / "_build" / "executed").latest(f"chapters/{name}", "full")


def printed(book: Path, name: str) -> str:
    """What it printed."""
    return "".join(out.get("text", "") for cell in kept(book, name).cells for out in cell.get("outputs", []))


def test_a_kernel_of_many_is_as_one_by_itself(small_book: Path, tmp_path: Path) -> None:
    (small_book / "data" / "x.csv").write_text("1")
    orphan = tmp_path / "orphan"
    law = f"import sys\nsys.path.insert(0, {str(small_book / 'lib')!r})\n__import__('law').exponent"
    chapters(
        small_book, alone=ASKED, asked=ASKED, drawn=DRAWN, again=DRAWN,
        reads=f"print(open('../data/x.csv').read())\n{law}",
        dying="import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        # The process that kernels come from, with which this one ends: the chapters after it have another one.
        worse=f"import os, signal, time\nopen({str(orphan)!r}, 'w').write(str(os.getpid()))\n"
        "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)",
    )  # fmt: skip
    assert execute(small_book, "alone") == []
    many = ("drawn", "dying", "again", "worse", "asked", "reads")
    assert len(many) >= MANY
    wrong = execute(small_book, *many)
    assert [reason.partition(":")[0] for reason in wrong] == ["chapters/dying.md", "chapters/worse.md"]
    assert all("cell 2/2 failed: DeadKernelError" in reason for reason in wrong)
    until(lambda: not psutil.pid_exists(int(orphan.read_text())), "the end of a kernel without its nursery")

    assert printed(small_book, "asked") == printed(small_book, "alone")
    assert json.loads(printed(small_book, "alone"))[1].replace("|", "/") == str(small_book / "chapters")
    first, second = printed(small_book, "drawn").split(), printed(small_book, "again").split()
    assert first[2] == second[2], "expected kernels of one nursery"
    assert not set(first[:2]) & set(second[:2])
    assert {"data/x.csv", "lib/law.py"} <= kept(small_book, "reads").metadata[INPUTS]["read"].keys()


def test_kernels_end_with_the_process_that_executes(small_book: Path) -> None:
    worker = TiedProcess(Habits())
    worker.wait()
    pid = worker.call(started, (str(small_book),), {})
    kernel = psutil.Process(pid)
    nursery = kernel.parent()
    os.kill(worker.call(os.getpid, (), {}), signal.SIGKILL)
    assert not psutil.wait_procs([kernel, nursery], timeout=20)[1]
    worker.end()


def started(folder: str) -> int:
    """Start a kernel that waits for ever, in a process of the test's own."""
    from bookbuild.execution.nursery import Nursery

    nursery = Nursery([sys.executable], loaded=())
    started.nursery = nursery  # type: ignore[attr-defined]
    return nursery.kernel(["-f", f"{folder}/kernel.json"], dict(os.environ), folder).pid
