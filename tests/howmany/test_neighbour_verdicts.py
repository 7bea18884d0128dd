"""Each claim of the neighbours is judged on one page, beside its placebo; the map says what the pages say."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from howmany.claims import read_claims
from howmany.page import verdict_table
from howmany.verdict import DECIDED
from neighbour_pages import CLAIMS, DATA, Page, pages

STATEMENTS = pd.read_csv(DATA / "published/neighbour_statements.csv", dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def every() -> dict[str, Page]:
    return pages(refits=60)


def test_each_claim_is_judged_on_one_page(every: dict[str, Page]) -> None:
    where = Counter(judged.claim.key for page in every.values() for judged in page.judged)
    claimed = [claim.key for file in CLAIMS.values() for claim in read_claims(file)]
    assert where == Counter(claimed)
    assert set(where.values()) == {1}


def test_each_word_stands_beside_its_placebo(every: dict[str, Page]) -> None:
    for name, page in every.items():
        for judged in page.judged:
            told = (name, judged.claim.key)
            assert bool(judged.claim.quantity) == bool(judged.claim.placebo), told
            assert bool(judged.claim.quantity) == bool(judged.findings), told
            if judged.word in DECIDED:
                assert judged.placebos, told
                assert judged.asked_placebo.startswith("placebo "), told
            if judged.placebos and judged.word in DECIDED and judged.alike == len(judged.placebos):
                assert judged.text == f"{judged.word}, but says nothing of {judged.claim.about}", told


def test_a_claim_without_a_verdict_says_why(every: dict[str, Page]) -> None:
    for page in every.values():
        for judged in page.judged:
            if judged.word == "not testable here":
                assert judged.claim.note, judged.claim.key


def test_the_map_says_what_the_pages_say(every: dict[str, Page]) -> None:
    for row in STATEMENTS.itertuples(index=False):
        page = every[row.chapter]
        word = page.numbers[row.word]
        assert word in {judged.text for judged in page.judged}, row.statement


def test_no_cell_of_a_verdict_table_is_empty(every: dict[str, Page]) -> None:
    for page in every.values():
        assert (verdict_table(page.judged) != "").all(axis=None)


def test_the_tables_have_at_least_eight_rows_and_two_seeds() -> None:
    for name in ("runs/upcycling", "runs/composition", "runs/shapes", "neighbours/compression", "neighbours/adaptive",
                 "neighbours/superposition", "probes/isoflop"):  # fmt: skip
        file = Path(DATA / f"{name}.csv")
        table = pd.read_csv(file)
        assert len(table) >= 8, name
        assert table.get("seed", pd.Series([0, 1])).nunique() >= 2, name
