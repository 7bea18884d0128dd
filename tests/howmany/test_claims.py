"""Claims and the words on them: each word is given where it should be, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from howmany.claims import Claim, read_claims
from howmany.verdict import Finding, finding, judge, trend, word_on

HEADER = "key,where,statement,quantity,direction,low,high,note\n"


def claim(direction: str, low: float = np.nan, high: float = np.nan, note: str = "") -> Claim:
    return Claim("key", "Fig. 1", "it does", "something", low, high, note, direction)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("direction", "low", "high", "word"),
    [
        ("rises", 0.1, 0.3, "reproduced"),
        ("rises", -0.3, -0.1, "contradicted"),
        ("rises", -0.1, 0.3, "not resolved"),
        ("falls", -0.3, -0.1, "reproduced"),
        ("falls", 0.1, 0.3, "contradicted"),
        ("unchanged", -0.4, 0.4, "reproduced"),
        ("unchanged", 0.1, 0.3, "reproduced"),  # beyond chance, and still too small to be seen
        ("unchanged", 0.1, 0.9, "contradicted"),
        ("unchanged", -0.1, 0.9, "not resolved"),
        ("within", -0.4, 0.4, "reproduced"),
        ("within", 0.6, 0.9, "contradicted"),
        ("within", -0.9, -0.6, "contradicted"),
        ("within", 0.4, 0.9, "not resolved"),
    ],
)
def test_a_word_follows_the_interval(direction: str, low: float, high: float, word: str) -> None:
    found = Finding("1e11", (low + high) / 2, low, high)
    assert word_on(claim(direction, -0.5, 0.5), found) == word


def test_a_range_without_an_end_on_one_side() -> None:
    below = claim("within", -np.inf, 0.5)
    assert word_on(below, Finding("1e11", 0.1, 0.0, 0.2)) == "reproduced"
    assert word_on(below, Finding("1e11", 0.5, 0.4, 0.6)) == "not resolved"
    assert word_on(below, Finding("1e11", 0.8, 0.7, 0.9)) == "contradicted"


def test_what_has_no_value_is_not_resolved() -> None:
    assert word_on(claim("rises"), Finding("1e11", open="at an edge")) == "not resolved"


def test_a_fall_that_turns_back_is_reproduced_in_part() -> None:
    noise = 0.01 * np.random.default_rng(0).normal(size=(4, 501))
    noise[:, 0] = 0
    bowl = np.array([1.0, 0.6, 0.5, 0.9])[:, None] + noise
    found = trend("1e11", bowl, ["E = 1", "E = 2", "E = 4", "E = 8"], -1)
    assert (found.turn, found.value) == ("E = 4", pytest.approx(-0.1))
    assert word_on(claim("falls"), found) == "partly"
    judged = judge(claim("falls"), [found])
    assert (judged.word, judged.reason) == ("partly", "falls to E = 4, then rises at 1e11")
    # The same bowl never rises first, so that it rises is simply wrong; a slope without a turn is not partly anything.
    assert word_on(claim("rises"), trend("1e11", bowl, ["a", "b", "c", "d"], +1)) == "contradicted"
    slope = np.array([1.0, 0.8, 0.6, 0.5])[:, None] + noise
    assert word_on(claim("falls"), trend("1e11", slope, ["a", "b", "c", "d"], -1)) == "reproduced"


def test_a_turn_within_chance_is_none() -> None:
    noise = 0.2 * np.random.default_rng(0).normal(size=(4, 501))
    noise[:, 0] = 0
    bowl = np.array([3.0, 1.1, 1.0, 1.2])[:, None] + noise
    assert word_on(claim("falls"), trend("1e11", bowl, ["a", "b", "c", "d"], -1)) == "reproduced"


def test_intervals_of_turns_are_wider_than_that_of_the_whole() -> None:
    values = np.array([0.0, 1.0])[:, None] + np.random.default_rng(0).normal(size=(2, 4001))
    found = trend("1e11", values, ["a", "b"], +1)
    assert found.turn in ("a", "b")
    change = found.ahead if found.turn == "b" else found.back
    assert change[0] < found.low
    assert change[1] > found.high


@pytest.mark.parametrize(
    ("sides", "word", "share"),
    [
        ((1, 1, 1), "reproduced", "3 of 3"),
        ((1, 1, 0), "reproduced", "2 of 3"),
        ((1, 0, 0), "not resolved", "2 of 3"),
        ((-1, -1, 0), "contradicted", "2 of 3"),
        ((1, 1, -1), "partly", "2 reproduced, 1 contradicted"),
        ((0, 0, 0), "not resolved", "3 of 3"),
    ],
)
def test_budgets_are_counted(sides: tuple[int, ...], word: str, share: str) -> None:
    found = [Finding(f"1e{k}", side, side - 0.5, side + 0.5) for k, side in enumerate(sides)]
    judged = judge(claim("rises"), found)
    assert (judged.word, judged.share) == (word, share)
    if set(sides) == {1}:
        assert judged.reason == "rises at every budget"
    if sides == (1, 1, -1):
        assert judged.reason == "rises at 1e0, 1e1; falls at 1e2"


def test_an_open_factor_is_one_and_an_open_change_is_zero() -> None:
    assert judge(claim("rises"), [Finding("1e11", 0.1, -0.1, 0.3, "times")]).reason == "its interval holds 1 at 1e11"
    assert judge(claim("rises"), [Finding("1e11", 0.1, -0.1, 0.3)]).reason == "its interval holds zero at 1e11"
    assert judge(claim("falls"), [Finding("1e11 to 3e11", -1, -2, -0.5)]).reason == "falls from 1e11 to 3e11"


def test_without_findings_a_claim_is_not_testable_and_its_note_says_why() -> None:
    judged = judge(claim("rises", note="no such models"), [])
    assert (judged.word, judged.reason, judged.share) == ("not testable here", "no such models", "")


def test_an_interval_comes_from_the_refits_alone() -> None:
    found = finding("1e11", np.concatenate([[0.2], np.linspace(0, 1, 1001)]))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.025, 0.975))
    exact = finding("1e11", np.array([0.2]))
    assert (exact.value, exact.low, exact.high) == (0.2, 0.2, 0.2)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Finding("", np.log(2), np.log(1.5), np.log(3), "times"), "× 2.0 [1.5, 3.0]"),
        (Finding("", np.log(430), np.log(430), np.log(430), "times"), "× 430"),
        (Finding("", -0.0371, -0.06, -0.01, "nats"), "-0.037 [-0.060, -0.010] nats"),
        (Finding("", -24_513, -37_969, -13_145, "parameters"), "-25 k [-38 k, -13 k] parameters"),
        (Finding("", 4.8e-4, 2e-4, 8.4e-4), "0.00048 [0.00020, 0.00084]"),
        (Finding("", *np.log([0.497, 0.321, 0.655]), "times"), "× 0.50 [0.32, 0.66]"),
        (Finding("", 2.136, 1.764, 2.554, "of the mean"), "2.14 [1.76, 2.55] of the mean"),
        (Finding("", *np.log([1.106, 1.04, 1.204]), "times"), "× 1.11 [1.04, 1.20]"),
        (Finding("", open="at an edge"), ""),
    ],
)
def test_numbers_are_written_for_readers(found: Finding, text: str) -> None:
    assert found.text == text


def test_a_table_of_claims_is_read(tmp_path: Path) -> None:
    path = tmp_path / "claims.csv"
    path.write_text(
        HEADER + 'a,Fig. 1,"it falls, always",best_loss,falls,,,\nb,Fig. 2,small,slope,unchanged,-1,1,why\n'
    )
    one, two = read_claims(path)
    assert (one.sign, one.statement, np.isnan(one.low)) == (-1, "it falls, always", True)
    assert (two.sign, two.low, two.high, two.note) == (0, -1, 1, "why")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,Fig. 1,x,y,sinks,,,", r"claims.csv: row 2: direction 'sinks', expected one of 'rises', 'falls'"),
        ("a,Fig. 1,x,y,within,low,1,", r"claims.csv: row 2: could not convert string to float: 'low'"),
        ("a,Fig. 1,x,y,falls,,,\na,Fig. 2,x,y,falls,,,", r"claims.csv: row 3: the key 'a' is used twice"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "claims.csv"
    path.write_text(HEADER + row + "\n")
    with pytest.raises(ValueError, match=message):
        read_claims(path)
    path.write_text("key,where\na,b\n")
    with pytest.raises(ValueError, match=r"claims.csv: no column 'statement'"):
        read_claims(path)
