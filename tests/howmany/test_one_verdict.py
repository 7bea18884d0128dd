"""One verdict a claim on all pages of the built book, the script that reads them, and the rule on finer experts."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from books import pages_of
from howmany.claims import Claim, read_claims
from howmany.granularity import design_slopes, finer_experts
from howmany.page import verdict_html, verdict_table
from howmany.study import TEXT
from howmany.verdict import Finding, Judged, judge
from howmany.verdicts.finer_rule import ruled, ruling
from howmany.verdicts.on_pages import different, main, marks
from repository import ROOT

DATA = ROOT / "data"
RUNS, PROBES = DATA / "runs/isoflop.csv", DATA / "probes/isoflop.csv"
FINER = [str(DATA / "runs" / name) for name in ("granularity.csv", "finer.csv")]
ABNAR, KRAJEWSKI, YUN = (str(DATA / "published" / f"{name}_claims.csv") for name in ("abnar", "krajewski", "yun"))
REFITS = 60


def written(folder: Path, pages: dict[str, list[Judged]]) -> None:
    """The pages as executed notebooks, each with a table of its verdicts."""
    for name, found in pages.items():
        shown = verdict_table(found).to_html(escape=False)
        cell = {"cell_type": "code", "outputs": [{"data": {"text/html": shown.splitlines(keepends=True)}}]}
        (folder / f"{name}.0123abc.ipynb").write_text(json.dumps({"cells": [cell, {"cell_type": "markdown"}]}))


ON_TWO_PAGES = {"na-by-s", "loss-by-s", "s-to-one", "downstream-s", "downstream-reading", "k-and-g", "rmsle"}
BESIDE_PLACEBOS = re.compile(r"<b data-claim[^>]*>([^<]+)</b></summary><small>[^<]*placebo (\d+) of (\d+)")


def test_no_claim_is_judged_differently_on_two_pages(whole_site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = marks((whole_site / "chapters").glob("*.html"))
    assert different(found) == []
    assert {claim for (claim, _), words in found.items() if len(set().union(*words.values())) > 1} >= ON_TWO_PAGES
    assert main([str(whole_site / "chapters")]) == 0
    assert "each the same on all pages" in capsys.readouterr().out


def test_no_page_counts_as_reproduced_what_a_placebo_gets_too(whole_site: Path) -> None:
    found = [cell for page in pages_of(whole_site) for cell in BESIDE_PLACEBOS.findall(page.read_text())]
    assert len(found) >= 20
    for word, alike, placebos in found:
        assert alike != placebos or "says nothing of" in word


def test_a_claim_with_two_words_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim = Claim("a", "Sec. 1", "it falls", "q", float("nan"), float("nan"), "", "falls")
    falls, rises = (judge(claim, [Finding("1e12", x, x, x)], "runs") for x in (-1.0, 1.0))
    written(tmp_path, {"one": [falls], "two": [rises], "three": [falls]})
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == "a by runs: reproduced on one, three; contradicted on two\n"
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "found no verdict" in capsys.readouterr().err
    assert main([]) == 2
    # What another study says of the same claim is another verdict.
    other = judge(claim, [Finding("1e12", 1.0, 1.0, 1.0)], "law")
    written(tmp_path, {"one": [falls], "two": [other], "three": [falls]})
    assert different(marks(tmp_path.glob("*.ipynb"))) == []
    assert verdict_html(other) == '<b data-claim="a" data-by="law">contradicted</b>'


# --- the rule on finer experts --------------------------------------------------------------------------------------


def finer_runs(slope: float, turn: float = 9.0) -> pd.DataFrame:
    """Dense runs and K = G = 2 at two budgets: L* moves by ``slope`` a doubling of 1 / (1 - S), and back beyond."""
    rows = []
    for budget in (1e12, 3e12):
        for count, k in ((1, 1), (8, 2), (32, 2), (128, 2), (256, 2)):
            doublings = 0.0 if k == 1 else float((count // k).bit_length() - 1)
            level = 4 + slope * min(doublings, turn) - slope * max(0.0, doublings - turn)
            for step in range(7):
                for seed in (0, 1):
                    wobble = 1e-3 * ((37 * step + 11 * count + 5 * seed) % 7 - 3)
                    size = 3e4 * 1.3**step
                    loss = level + 0.1 * (0.26 * (step - 3)) ** 2 + wobble
                    rows.append((budget, count, k, float(k), size, size * count / k, seed, loss, 1 - k / count))
    columns = [
        "budget",
        "n_experts",
        "top_k",
        "granularity",
        "active_params",
        "total_params",
        "seed",
        "loss",
        "sparsity",
    ]
    runs = pd.DataFrame(rows, columns=columns).assign(status="finished")
    return runs.assign(sparsity=runs["sparsity"].where(runs["n_experts"] > 1, 0.0))


def test_contradicted_is_withdrawn_where_finer_experts_keep_gaining_and_nowhere_else() -> None:
    claims = {claim.key: claim for claim in read_claims(ABNAR)}
    against = [
        judge(claims[key], [Finding("1e12", x, x, x, "nats")], TEXT)
        for key, x in (("s-to-one", 0.1), ("loss-by-s", 0.1), ("na-by-s", 0.1))
    ]
    assert [each.word for each in against] == ["contradicted"] * 3
    falling = finer_runs(-0.03)
    assert ruling(falling).withdrawn
    assert [each.word for each in ruled(against, falling)] == ["not resolved", "not resolved", "contradicted"]
    assert "withdrawn: at K = G = 2" in ruled(against, falling)[0].reason
    turning = finer_runs(-0.03, turn=4.0)
    assert not ruling(turning).withdrawn
    assert ruled(against, turning) == against
    one = falling[(falling["budget"] == 1e12) | (falling["sparsity"] < 0.99)]
    assert (ruling(one).falling, ruling(one).withdrawn) == (1, False)


def test_the_recorded_runs_are_judged_by_the_rule() -> None:
    """Whatever they say: as many findings as there are budgets with K = G = 2 at S = .99 or more."""
    every = finer_experts.runs_of([str(RUNS), *FINER])
    fine = every[(every["top_k"] == 2) & (every["granularity"] == 2) & (every["sparsity"] >= 0.99)]
    assert len(ruling(every).findings) == fine["budget"].nunique() >= 2


def test_slopes_are_those_that_made_the_runs() -> None:
    every = finer_runs(-0.03)
    studies = finer_experts.studies(every, REFITS)
    assert set(studies) == {"K = 2, G = 2"}
    table = finer_experts.slopes(studies)
    assert table["budget"].tolist() == [1e12, 3e12]
    assert (table["low"] < -0.03).all()
    assert (table["high"] > -0.03).all()
    assert table["best"].tolist() == pytest.approx([1 - 2 / 256] * 2)
    turned = finer_experts.slopes(finer_experts.studies(finer_runs(-0.03, turn=4.0), REFITS))
    assert turned["best"].tolist() == pytest.approx([1 - 2 / 32] * 2)
    assert (turned["last_low"] > 0).all()
    assert len(design_slopes.slope_table(table)) == 2
