"""The examples in docstrings do what they show."""

import doctest
import importlib
from pathlib import Path

import pytest

import moelaws

LIB = Path(moelaws.__file__).parents[1]
MODULES = sorted(
    ".".join(file.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__")
    for file in LIB.rglob("*.py")
    if ">>> " in file.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted
    assert not found.failed


def test_there_are_some() -> None:
    assert {"moelaws.fitting.result", "moelaws.fitting.report.fit_file", "moelaws.optimum.forecaster"} <= set(MODULES)
