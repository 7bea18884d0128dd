"""A reader's words in our sentences: short, on one line, and nothing in them that a terminal would obey."""

import pytest

from moelaws.quote import LONGEST, in_short, listed, plain, sentence, shown, within


@pytest.mark.parametrize(
    "text", ["a\x1b[31mred", "x\ny", "bell\x07", "\udcff", "right\u202eleft", "\x9bm", "z" * 10_000]
)
def test_a_readers_words_are_printable_and_short(text: str) -> None:
    for said in (shown(text), plain(text), listed([text, text + "b"]), sentence(text)):
        assert said.isprintable()
        assert len(said) <= LONGEST
    assert len(shown(text)) <= 80


def test_a_word_is_quoted_and_a_number_is_not() -> None:
    assert shown("abc") == "'abc'"
    assert shown("it's") == '"it\'s"'
    assert shown(3.5) == "3.5"
    assert shown("x" * 100, 5) == "'xxxxx...'"
    assert plain("val/loss é") == "val/loss é"


def test_names_are_cut_and_counted_with_the_nearest_first() -> None:
    assert listed([]) == "nothing"
    assert listed(["a", "b"]) == "'a', 'b'"
    many = [f"c{i}" for i in range(200)] + ["Tokens"]
    assert listed(many, "tokens", 4) == "'Tokens', 'c0', 'c1', 'c2' and 197 more"
    assert len(listed(["n" * 1000] * 50 + ["m" * 1000])) < LONGEST


def test_a_long_message_keeps_both_ends() -> None:
    said = sentence("begin " + "x" * 5000 + " end")
    assert len(said) == LONGEST
    assert said.startswith("begin x")
    assert said.endswith("x end")
    assert sentence("two\nlines\x1b[0m") == "two lines\\x1b[0m"


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (7, "7"),
        (3072, "3,072"),
        (10310, "10.3k"),
        (99_996, "100k"),
        (999_999, "1.00M"),
        (2.1e9, "2.10B"),
        (3e15, "3,000T"),
    ],
)
def test_a_count_has_three_digits_and_a_word_for_its_size(count: float, said: str) -> None:
    assert in_short(count) == said


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((3.2796, 0.8233, 13.064), ("3.3", "0.8", "13.1")),
        ((2.9226, 2.8761, 2.9702), ("2.923", "2.876", "2.970")),
        ((4.8e-4, 2e-4, 8.4e-4), ("0.00048", "0.00020", "0.00084")),
        ((430.2, 380.0, 500.0), ("430", "380", "500")),
        ((0.0, 0.0, 0.1289), ("0.00", "0.00", "0.13")),
        ((1.5, 1.5, 1.5), ("1.5", "1.5", "1.5")),
        ((1.5, 0.0, float("inf")), ("1.5", "0", "inf")),
    ],
)
def test_a_number_has_the_digits_that_its_interval_leaves(
    numbers: tuple[float, float, float], said: tuple[str, str, str]
) -> None:
    assert within(*numbers) == said
