"""Try all inputs and record what came of them: ``PYTHONPATH=tests python -m fuzz``."""

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fuzz.command import Input
from fuzz.files import build
from fuzz.inputs import every
from fuzz.run import Ending, load, run, state
from fuzz.verdict import objections
from moelaws.files import cache_folder


def tried(inputs: Iterable[Input], at: Path) -> Iterable[tuple[Input, Ending, list[str]]]:
    """Each input with how it ended and what is wrong with that, in a folder that is whole before each of them.

    Args:
        inputs: command lines.
        at: an empty folder.
    """
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder()))  # what is compiled once on a machine stays compiled
    os.environ["MOELAWS_CACHE"] = str(at / "cache")
    os.environ.pop("MOELAWS_DEBUG", None)
    load()
    whole, folder, prints = at / "whole", at / "folder", at / "prints"
    for place in (whole, prints):
        place.mkdir()
    build(whole)
    _compile(whole, at)
    clean: dict[str, tuple[object, ...]] | None = None
    for one in inputs:
        if clean is None or state(folder) != clean:
            shutil.rmtree(folder, ignore_errors=True)
            _copy(whole, folder)
            clean = state(folder)
        ending = run(one, folder, prints)
        yield one, ending, objections(one, ending)


def _compile(whole: Path, at: Path) -> None:
    """Have compiled what is not: no command is to be found hung because it waits for that."""
    measure = ["measure", "tiny:d=16", "--batch", "1", "--prompt", "4", "--new", "2", "--repeats", "1"]
    for line in (measure, ["upcycle", str(whole / "dense"), "--out", str(at / "upcycled")]):
        child = multiprocessing.get_context("fork").Process(
            target=_silent, args=(line,)
        )  # with all that is loaded here
        child.start()
        child.join()
        if child.exitcode:
            raise RuntimeError(f"moelaws {' '.join(line)}: exit code {child.exitcode}")


def _silent(line: list[str]) -> None:
    from fuzz.programs import main

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        sys.exit(main(line))


def _copy(whole: Path, folder: Path) -> None:
    """A copy with links in place of large files' contents, and pipes as pipes."""
    shutil.copytree(whole, folder, symlinks=True, copy_function=_copy_one, ignore=_pipes)
    for name in os.listdir(whole):
        if (whole / name).is_fifo():
            os.mkfifo(folder / name)


def _copy_one(source: str, target: str) -> None:
    if os.path.getsize(source) > 1_000_000_000:  # nothing but a size
        with open(target, "wb") as file:
            file.truncate(os.path.getsize(source))
    else:
        shutil.copy2(source, target)


def _pipes(place: str, names: list[str]) -> set[str]:
    return {name for name in names if Path(place, name).is_fifo()}


def main() -> int:
    """Try, record, and print what is wrong; returns how it went."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the inputs (default 0)")
    parser.add_argument("--sample", type=int, help="so many of them, drawn at random (default: all)")
    parser.add_argument("--only", default="", help="those whose words contain this")
    parser.add_argument("--out", type=Path, help="write a record to this JSON file")
    options = parser.parse_args()
    from fuzz.programs import make_parser

    inputs = [one for one in every(make_parser(), options.seed) if options.only in " ".join((*one.argv, one.about))]
    if options.sample is not None:
        inputs = random.Random(options.seed).sample(inputs, min(options.sample, len(inputs)))
    began, record = time.monotonic(), _Record()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as at:
        for number, (one, ending, wrong) in enumerate(tried(inputs, Path(at)), 1):
            record.add(one, ending, wrong)
            if wrong:
                print(f"{number:4}/{len(inputs)} {'; '.join(wrong)}\n     {_said(one, ending)}", flush=True)
            elif number % 100 == 0:
                print(f"{number:4}/{len(inputs)}", flush=True)
    found = record.summary() | {"seed": options.seed, "seconds": round(time.monotonic() - began, 1)}
    print(json.dumps({name: value for name, value in found.items() if name != "wrong"}, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    return int(bool(found["wrong"]))


def _said(one: Input, ending: Ending) -> str:
    line = " ".join(ascii(word) if len(word) < 120 else f"{word[:60]!a}...({len(word)})" for word in one.argv)
    return f"[{one.about}] moelaws {line}\n     {ending.code}: {ending.err[-1500:]!a}"


class _Record:
    """What all inputs together gave."""

    def __init__(self) -> None:
        self.commands: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        self.seconds, self.megabytes, self.longest = 0.0, 0.0, 0
        self.wrong: list[dict[str, Any]] = []

    def add(self, one: Input, ending: Ending, wrong: list[str]) -> None:
        self.commands[one.command if one.command.isalpha() and len(one.command) < 20 else "other"] += 1
        self.codes[ending.code] += 1
        self.seconds, self.megabytes = max(self.seconds, ending.seconds), max(self.megabytes, ending.megabytes)
        if ending.code == 2:
            self.longest = max([self.longest, *map(len, ending.err.splitlines())])
        if wrong:
            words = [ascii(word)[:200] for word in one.argv]
            self.wrong.append({"argv": words, "about": one.about, "code": ending.code, "wrong": wrong})

    def summary(self) -> dict[str, Any]:
        return {
            "inputs": self.commands.total(),
            "commands": dict(sorted(self.commands.items())),
            "exit_codes": {str(code): count for code, count in sorted(self.codes.items())},
            "tracebacks": self._count("Traceback") + self._count("exit code 99"),
            "internal_errors": self._count("internal error"),
            "hung": self._count("hung"),
            "files_changed": self._count("changed "),
            "slowest_seconds": round(self.seconds, 1),
            "most_megabytes": round(self.megabytes),
            "longest_message": self.longest,
            "load_average": os.getloadavg()[0],
            "wrong": self.wrong,
        }

    def _count(self, word: str) -> int:
        return sum(any(word in phrase for phrase in each["wrong"]) for each in self.wrong)


if __name__ == "__main__":
    sys.exit(main())
