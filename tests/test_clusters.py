"""The page on clusters: its arithmetic, its commands and its description of a cluster are what they say."""

import argparse
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from moelaws.cli import sweep

PAGE = (Path(__file__).parent.parent / "clusters.md").read_text()
UNITS = {"s": 1, "min": 60, "h": 3600, "days": 86400}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def _commands(start: str) -> list[list[str]]:
    text = "\n".join(_blocks("bash")).replace("\\\n", " ")
    lines = (line.split(start, 1) for line in text.splitlines())
    return [shlex.split(after[0].removesuffix("&")) for before, *after in lines if after and not before.startswith("#")]


def _close(cell: str, seconds: float) -> bool:
    """Whether a cell like ``4.6 days`` is a duration, rounded as it is printed."""
    number, unit = cell.split()
    half = 0.5 * 10.0 ** -len(number.partition(".")[2])
    return abs(seconds / UNITS[unit] - float(number)) <= half


def test_the_table_of_costs_is_the_arithmetic_it_says() -> None:
    found = re.findall(r"^\| (1e\d\d) \| (.*) \|$", PAGE, flags=re.MULTILINE)
    assert [budget for budget, _ in found] == ["1e15", "1e16", "1e17", "1e18"]
    for budget, line in found:
        cells = line.split(" | ")
        flops = float(budget)
        size = math.sqrt(flops / 120)
        assert float(cells[0].split()[0]) == pytest.approx(size / 1e6, rel=0.02)
        assert float(cells[1].split()[0]) == pytest.approx(20 * size / 1e6, abs=0.5)
        for cell, speed in zip(cells[2:6], (25e9, 0.05 * 312e12, 0.05 * 989e12, 0.3 * 989e12), strict=True):
            assert _close(cell, flops / speed), (budget, cell, flops / speed)
        hours = 200 * flops / (0.05 * 989e12) / 3600
        time, dollars = cells[6].split(", ")
        assert _close(time, hours * 3600)
        assert float(dollars.split()[0]) == pytest.approx(3 * hours, abs=0.5)


def test_its_sweeps_can_be_typed() -> None:
    parser = argparse.ArgumentParser()
    sweep.add_parser(parser.add_subparsers())
    commands = _commands("moelaws sweep")
    assert len(commands) >= 7
    for arguments in commands:
        parser.parse_args(["sweep", *arguments])


@pytest.mark.parametrize("role", ["worker", "scheduler"])
def test_its_options_of_dask_exist(role: str) -> None:
    pytest.importorskip("distributed")
    options = {word for command in _commands(f"dask {role}") for word in command if word.startswith("--")}
    (cluster,) = map(yaml.safe_load, _blocks("yaml"))
    arguments = cluster["spec"][role]["spec"]["containers"][0]["args"]
    assert arguments[:2] == ["dask", role]
    options |= {word for word in arguments if word.startswith("--")}
    line = [sys.executable, "-m", "dask", role, "--help"]
    known = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert options
    for option in options:
        assert re.search(rf"{option}\b", known), f"dask {role} has no option {option}"
