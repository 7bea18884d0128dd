"""The map of the neighbours is what its tables say, and every word on it is a chapter's."""

import re
from pathlib import Path

import pandas as pd
import pytest

from howmany.neighbours import map_page
from repository import ROOT

PUBLISHED = ROOT / "data" / "published"
PAGE = (ROOT / "neighbours.md").read_text(encoding="utf-8")


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(PUBLISHED / f"neighbour_{name}.csv", dtype=str, keep_default_na=False)


def test_the_page_is_what_the_tables_say() -> None:
    assert map_page.mapped(PAGE, PUBLISHED) == PAGE


def test_every_paper_is_in_the_bibliography() -> None:
    known = set(re.findall(r"@\w+\{(\w+),", (ROOT / "references.bib").read_text(encoding="utf-8")))
    papers, statements = table("papers"), table("statements")
    named = {key for column in ("says", "against") for keys in statements[column] for key in keys.split()}
    assert set(papers["paper"]) | named <= known
    assert (papers["read"] != "").all()
    assert papers["paper"].is_unique


def test_every_statement_is_tested_in_a_chapter_that_shows_its_word() -> None:
    for row in table("statements").itertuples(index=False):
        text = (ROOT / "chapters" / f"{row.chapter}.md").read_text(encoding="utf-8")
        assert f"{{glue:text}}`{row.word}`" in text, row.statement
        assert row.says, row.statement


def test_a_factor_nobody_knows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "neighbour_papers.csv").write_text(
        "paper,varies,scale,flops_from,flops_to,read\nabnar2025,E colour,x,,,y\n"
    )
    with pytest.raises(ValueError, match="abnar2025: varies 'colour'"):
        map_page.paper_table(tmp_path)
    with pytest.raises(ValueError, match="the page lacks a mark"):
        map_page.mapped("% who\n% end\n", PUBLISHED)
