"""Commands that are ended at a random moment by a real signal, and what is looked at afterwards.

Moments are spread over the time that the undisturbed command takes. They begin when the process has taken its signals
over: what comes before is Python's own start, in which nothing of ours runs.
"""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from small_sweep import HERE, with_tests

PATIENCE = 60.0
"""Seconds after which a command counts as hung: on a quiet machine all end within five."""

_MARK = "MOELAWS_TESTS_MARK"


@dataclass
class Tally:
    """What became of a number of tries.

    Attributes:
        what: command and signal.
        tries: how many.
        finished: of them, commands that had done their work before the signal came.
        hung, orphans, noisy, broken: of them, those that did not end, left a process, said more or less than their
            one sentence, or left something half written.
        slowest: most seconds between signal and end.
        details: what was wrong, in words.
    """

    what: str
    tries: int = 0
    finished: int = 0
    hung: int = 0
    orphans: int = 0
    noisy: int = 0
    broken: int = 0
    slowest: float = 0.0
    details: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.hung or self.orphans or self.noisy or self.broken)


def undisturbed_seconds(line: list[str]) -> float:
    """How long a command takes, from the moment when it has taken its signals over."""
    process = _start(line, {})
    _until_it_listens(process)
    begin = time.monotonic()
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return time.monotonic() - begin


def disturb(
    tally: Tally, line: list[str], number: signal.Signals, seconds: float, whole: Callable[[], str],
    dice: random.Random,
) -> None:  # fmt: skip
    """Start a command, end it at a random moment, and look at what is left.

    Args:
        tally: counts it.
        line: the command.
        number: sent to all of its process group, as a terminal and a batch system do; KILL to the first alone.
        seconds: the latest moment.
        whole: says what is half written, or nothing.
        dice: draws the moment.
    """
    tally.tries += 1
    mark = uuid.uuid4().hex
    process = _start(line, {_MARK: mark})
    _until_it_listens(process)
    moment = dice.uniform(0, seconds)
    time.sleep(moment)
    errors = _end(tally, process, number)
    faults = {"orphans": _until_gone(mark), "noisy": _noise(number, process.returncode, errors), "broken": whole()}
    tally.finished += process.returncode == 0
    _note(tally, faults, f"{number.name} after {moment:.2f} s", mark)


def disturb_script(tally: Tally, script: Path, moment: float) -> None:
    """Start a script of the reader's that catches Ctrl-C itself, and press it so long after its first line.

    It prints ``main`` and, when it was interrupted, ``interrupted``; nothing else is to be seen of it.
    """
    tally.tries += 1
    mark = uuid.uuid4().hex
    process = _start([sys.executable, str(script)], {_MARK: mark})
    assert process.stdout is not None
    assert process.stdout.readline() == "main\n"
    time.sleep(moment)
    errors = _end(tally, process, signal.SIGINT)
    clean = process.returncode == 130 and not errors
    faults = {"orphans": _until_gone(mark), "noisy": "" if clean else f"exit {process.returncode}: {errors[-600:]}"}
    _note(tally, faults, f"SIGINT after {moment:.2f} s", mark)


def _end(tally: Tally, process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send the signal and wait for the end; returns what was printed on standard error."""
    begin = time.monotonic()
    (os.kill if number == signal.SIGKILL else os.killpg)(process.pid, number)
    try:
        _, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        tally.hung += 1
        errors = "hung"
    tally.slowest = max(tally.slowest, time.monotonic() - begin)
    return errors


def _note(tally: Tally, faults: dict[str, str], when: str, mark: str) -> None:
    for what, fault in faults.items():
        if fault:
            setattr(tally, what, getattr(tally, what) + 1)
            tally.details.append(f"{when}: {what}: {fault}")
    for pid in _marked(mark):
        os.kill(pid, signal.SIGKILL)


def _start(line: list[str], extra: dict[str, str]) -> subprocess.Popen[str]:
    pipe, heard = subprocess.PIPE, partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        line, env=with_tests() | extra, text=True, stdout=pipe, stderr=pipe, cwd=HERE, start_new_session=True,
        preexec_fn=heard,
    )  # fmt: skip


def _until_it_listens(process: subprocess.Popen[str]) -> None:
    """Wait until SIGTERM has a handler, which Python does not give it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.001)
    raise AssertionError(f"no handler of SIGTERM: {process.communicate()[1]}")


def _noise(number: signal.Signals, code: int, errors: str) -> str:
    """What is wrong with the exit code and the words of a command that was asked to end."""
    if number == signal.SIGKILL:
        return "" if code in (0, -number) else f"exit {code}: {errors[-300:]}"
    if code == 0 and not errors:
        return ""
    lines = errors.splitlines()
    said = len(lines) == 1 and ": interrupted; " in lines[0]
    return "" if said and code == 128 + number else f"exit {code}: {errors[-600:]}"


def _until_gone(mark: str, seconds: float = 10) -> str:
    """Wait for the last process of a command; returns those that stay."""
    deadline = time.monotonic() + seconds
    while left := _marked(mark):
        if time.monotonic() > deadline:
            return ", ".join(_command_line(pid) for pid in left)
        time.sleep(0.05)
    return ""


def _marked(mark: str) -> list[int]:
    """The processes that have inherited a mark, zombies aside."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"{_MARK}={mark}".encode() in environment:
                found.append(int(entry.name))
    return found


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:120]
    except OSError:
        return "gone"


def sweep_line(table: Path, workers: int = 2) -> list[str]:
    """``moelaws sweep`` of the tiny sweep."""
    line = [sys.executable, "-m", "moelaws.cli", "sweep", "small_sweep:tiny_sweep", "--out", str(table)]
    return [*line, "--workers", str(workers)]


def book_line(root: Path) -> list[str]:
    """The build of a book, with two chapters at a time."""
    return [sys.executable, "-m", "bookbuild", "build", "--root", str(root)]
