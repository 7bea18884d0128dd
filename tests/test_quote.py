"""A reader's words in our sentences: short, on one line, and nothing in them that a terminal would obey."""

import pytest

from moelaws.quote import LONGEST, listed, plain, sentence, shown


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
