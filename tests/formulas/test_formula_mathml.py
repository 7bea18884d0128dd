"""Formulas as MathML: well formed for every law, with the letters of the paper."""

from xml.etree import ElementTree

import pytest

from moelaws.formulas.mathml import symbol, to_mathml
from moelaws.formulas.parsing import parse
from moelaws.laws import LAWS, law_from_formula


def text_of(markup: str) -> str:
    return "".join(ElementTree.fromstring(f"<r>{markup}</r>").itertext()).replace("\u2062", "").replace("\u2061", "")


@pytest.mark.parametrize("name", sorted(LAWS))
def test_every_law_is_well_formed(name: str) -> None:
    each = LAWS[name]
    tree = ElementTree.fromstring(each.mathml())
    assert tree.tag == "math"
    assert {element.tag for element in tree.iter()} <= {
        "math", "mrow", "mi", "mn", "mo", "msup", "msub", "mover", "mfrac", "msqrt", "mtable", "mtr", "mtd",
    }  # fmt: skip
    for element in tree.iter():
        if element.tag in ("msup", "msub", "mfrac", "mover"):
            assert len(element) == 2


def test_brackets_stand_where_they_are_needed_and_nowhere_else() -> None:
    assert text_of(to_mathml(parse("(A + B) * x"))) == "(A+B)x"
    assert text_of(to_mathml(parse("A * B + x"))) == "AB+x"
    assert text_of(to_mathml(parse("a - (b - c)"))) == "a−(b−c)"
    assert text_of(to_mathml(parse("(1 - S)^gamma"))) == "(1−S)γ"
    assert to_mathml(parse("A/N^alpha")) == "<mfrac><mi>A</mi><msup><mi>N</mi><mi>α</mi></msup></mfrac>"
    assert "log" in text_of(to_mathml(parse("log2(x)")))


def test_letters_are_those_of_the_paper() -> None:
    assert symbol("N_a") == "<msub><mi>N</mi><mi>a</mi></msub>"
    assert symbol("b2") == "<msub><mi>b</mi><mn>2</mn></msub>"
    assert symbol("Eh") == "<mover><mi>E</mi><mo>^</mo></mover>"
    mine = law_from_formula("mine", "E + A/N^alpha", {"N": "total_params"})
    assert "<mi>α</mi>" in mine.mathml()
