"""Figures that the page of benchmarks quotes are those that were recorded."""

import importlib.util
from types import ModuleType

import pytest

from repository import ROOT


@pytest.fixture(scope="module")
def quoted() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quoted", ROOT / "benchmarks" / "quoted.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_was_recorded(quoted: ModuleType) -> None:
    text = quoted.README.read_text(encoding="utf-8")
    assert quoted.written(text) == text, "python benchmarks/quoted.py writes it anew"


def test_a_figure_that_somebody_typed_is_replaced_and_a_place_that_is_gone_is_named(quoted: ModuleType) -> None:
    text = quoted.README.read_text(encoding="utf-8")
    for name, sentence in quoted.SENTENCES.items():
        assert text.count(sentence()) == 1
        assert quoted.written(text.replace(sentence(), "ten times")) == text
        with pytest.raises(ValueError, match=f"expected <!-- {name} -->"):
            quoted.written(text.replace(f"<!-- /{name} -->", ""))


def test_a_span_is_one_figure_where_both_ends_are_written_alike(quoted: ModuleType) -> None:
    assert quoted.span([1.26, 1.04, 1.1], 1) == "1.0 to 1.3"
    assert quoted.span([1.11, 1.12], 1) == "1.1"
