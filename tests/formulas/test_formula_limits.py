"""Formulas larger than any law, or whose constants are no numbers, are refused before anything is computed."""

import pytest

from moelaws.formulas.parsing import parse
from moelaws.laws import LAWS, FormulaError, LawError, law_from_formula


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("(" * 61 + "N" + ")" * 61, "nested too deeply"),
        ("(" * 900 + "N" + ")" * 900, "nested too deeply"),
        ("^".join(["N"] * 100), "nested too deeply"),
        ("N" + "+N" * 400, "more than 200 parts within parts"),
        ("+".join(["N"] * 100_000), "199999 characters; expected at most 2000"),
        ("N^1e9", "the power 1e+09 is out of range; expected at most 100"),
        ("N^-(10^10)", "the power -1e+10 is out of range"),
        ("(A - N)^(10*10*10)", "the power 1000 is out of range"),
        ("1e999 + N", "a part without names is no finite number"),
        ("N / 0 + 1/0", "a part without names is no finite number"),
        ("N + ln(0)", "a part without names is no finite number"),
        ("N + sqrt(-1)", "a part without names is no finite number"),
        ("N + exp(10^3)", "a part without names is no finite number"),
        ("N + 10^99^9", "out of range"),
        ("'a' * 10", "''' has no meaning here (character 1)"),
        ("[1] * 10", "'[' has no meaning here (character 1)"),
        ("N + \x1b[31m", "'\\x1b' has no meaning here (character 5)"),
        ("N if N else N", "'if' was not expected (character 3)"),
        ("N" * 300 + "$", "'$' has no meaning here (character 301)"),
    ],
)
def test_a_formula_beyond_the_limits_is_refused(formula: str, message: str) -> None:
    with pytest.raises(FormulaError) as refused:
        parse(formula)
    said = str(refused.value)
    assert message.replace("'''", '"\'"') in said
    assert len(said) <= 380
    assert said.isprintable()


def test_a_formula_within_them_is_read() -> None:
    parse("N" + " + N" * 150)
    parse("(" * 55 + "N" + ")" * 55)
    for law in LAWS.values():
        parse(law.formula, law.definitions)


def test_a_law_has_a_bearable_number_of_parameters() -> None:
    with pytest.raises(LawError, match="41 parameters; expected at most 40"):
        law_from_formula("mine", "+".join(f"a{i}*N" for i in range(41)), {"N": "tokens"})
