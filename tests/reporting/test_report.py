"""The page about a run table: whole, escaped, offline, small; and honest where the table has no answer."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import moelaws as ml
from command_line import exit_code
from moelaws.comparing.comparison_text import r2_text
from moelaws.optimum.run_family import family_of_runs
from moelaws.reporting.analyses import ReportOptions, number
from moelaws.reporting.page import BEGINNING, page_of
from moelaws.reporting.page_parts import Section, Table, written
from moelaws.reporting.report import Report, report
from repository import ROOT, TESTS

FAST = ReportOptions(bootstrap=20, laws=("hoffmann2022", "separable"))
EVIL = "<script>alert(1)</script>\"'<img src=x onerror=alert(2)>"


def small_study(noise: float = 0.003) -> pd.DataFrame:
    """Two seeds at three budgets, dense and with 8 experts."""
    rng = np.random.default_rng(0)
    rows = []
    for budget in (1e18, 1e19, 1e20):
        for experts in (1, 8):
            for size in 1e8 * (budget / 1e18) ** 0.5 * np.geomspace(0.2, 5, 6):
                for seed in (0, 1):
                    tokens = budget / 6 / size
                    loss = 1.7 + 400 / size**0.34 / experts**0.05 + 410 / tokens**0.28
                    rows.append(
                        {
                            "loss": loss * np.exp(noise * rng.normal()), "active_params": size, "tokens": tokens,
                            "total_params": size * (1 + 0.8 * (experts - 1)), "train_flops": budget, "budget": budget,
                            "n_experts": experts, "top_k": 1, "seed": seed, "status": "finished",
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def made() -> Report:
    return report(small_study(), options=FAST)


class _Tags(HTMLParser):
    """What a page is made of: that its tags close, and what they would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def tags(html: str) -> _Tags:
    found = _Tags()
    found.feed(html)
    return found


def test_the_page_is_whole_and_loads_nothing(made: Report) -> None:
    found = tags(made.html)
    assert (found.open, found.wrong) == ([], [])
    assert made.html.startswith(BEGINNING)
    assert len(made.html) < 4e6
    loading = [(tag, each) for tag, each in found.seen if tag in ("script", "link", "iframe", "img", "object", "image")]
    assert loading == []
    links = [each.get("href") or each.get("src") or "" for _, each in found.seen]
    assert [link for link in links if link and not link.startswith("#")] == []
    assert not re.search(r"@import|url\((?!#)", made.html)
    anchors = {each["id"] for _, each in found.seen if each.get("id")}
    assert {link[1:] for link in links if link} <= anchors


def test_drawings_do_not_share_the_names_that_they_refer_to(made: Report) -> None:
    names = re.findall(r'\bid="([^"]+)"', made.html)
    assert len(names) == len(set(names))
    assert {name[5:-1] for name in re.findall(r"url\(#[^)]+\)", made.html)} <= set(names)


def test_each_part_has_an_answer(made: Report) -> None:
    keys = [each.key for each in made.sections]
    assert keys == ["table", "noise", "surfaces", "gains", "laws", "optimum", "open", "next", "methods", "provenance"]
    by_key = {each.key: each for each in made.sections}
    assert made.analyses.why == {}
    assert by_key["table"].finding == "72 runs, all finished. They lie at 3 budgets, from 1e+18 to 1e+20 FLOPs."
    assert made.analyses.noise == pytest.approx(0.003 * 2.7, rel=0.5)
    assert "times the FLOPs of dense" in by_key["gains"].finding
    for key, least in (("table", 1), ("surfaces", 5), ("gains", 1), ("laws", 2)):
        assert len(by_key[key].figures) >= least, key
    assert all(figure.words for each in made.sections for figure in each.figures)
    best = made.analyses.optima[0]
    assert best.train_flops == 1e20
    assert best.total_params == pytest.approx(best.active_params * (1 + 0.8 * (best.n_experts - 1)), rel=1e-3)
    assert any("arXiv:2203.15556" in each for each in by_key["methods"].formulas)


def test_what_a_reader_calls_things_is_text(tmp_path: Path) -> None:
    table = small_study().assign(**{EVIL: EVIL, "corpus": EVIL})
    path = tmp_path / "<b>runs & more.csv"
    table.to_csv(path, index=False)
    html = report(path, options=FAST).html
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>runs" not in html
    assert "&lt;b&gt;runs &amp; more.csv" in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        (lambda t: t[["loss", "total_params", "tokens"]].head(5), "laws", "none of 2 laws can be fitted"),
        (lambda t: t.assign(seed=0)[t["seed"] == 0], "noise", "No design point was run twice"),
        (lambda t: t[["loss"]], "surfaces", "the table has no sizes"),
        (lambda t: t[t["budget"] == 1e18], "gains", "of which two are needed"),
        (lambda t: t[t["n_experts"] == 1], "gains", "one number of experts"),
        (lambda t: t.drop(columns=["budget", "train_flops", "tokens"]), "optimum", "none of the laws knows sizes"),
        (lambda t: t.assign(budget=np.nan), "surfaces", "At 1e\\+20 FLOPs the lowest loss"),
    ],
)
def test_a_question_without_an_answer_says_why(change: Any, key: str, said: str) -> None:
    made = report(change(small_study()), options=FAST)
    assert re.search(said, {each.key: each for each in made.sections}[key].finding)
    assert (tags(made.html).open, tags(made.html).wrong) == ([], [])


def test_tables_that_once_were_read_wrongly_have_pages(tmp_path: Path) -> None:
    for case in ("isoflop_dense", "isoflop_three_sizes", "five_runs", "isoflop_wide_wings", "own_size_replaced"):
        made = report(TESTS / "cases" / case / "runs.csv", tmp_path / f"{case}.html", FAST)
        assert len(made.sections) == 10
        assert (tmp_path / f"{case}.html").read_text(encoding="utf-8") == made.html


def test_the_command_writes_the_page_and_says_what_it_found(tmp_path: Path, capsys: Any) -> None:
    small_study().assign(note="x").to_csv(tmp_path / "runs.csv", index=False)
    line = [
        "report",
        str(tmp_path / "runs.csv"),
        "--out",
        str(tmp_path / "page.html"),
        "--bootstrap",
        "20",
        "--laws",
        "hoffmann2022",
    ]
    assert exit_code(line) == 0
    printed = capsys.readouterr().out
    assert "What is in the table: 72 runs, all finished." in printed
    assert exit_code(line) == 0  # our own page is replaced
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "its SHA-256" in page
    (tmp_path / "page.html").write_text("<!DOCTYPE html>\nmy page")
    capsys.readouterr()
    assert exit_code(line) == 2
    assert "another file has this name" in capsys.readouterr().err
    assert (tmp_path / "page.html").read_text() == "<!DOCTYPE html>\nmy page"
    small_study().assign(status="crashed").to_csv(tmp_path / "runs.csv", index=False)
    assert exit_code([*line[:3], str(tmp_path / "new.html")]) == 2
    assert not (tmp_path / "new.html").exists()


def test_numbers_as_a_page_has_them() -> None:
    assert written("at 3e+11 FLOPs") == "At 3\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10¹¹ FLOPs"
    assert written("1e-05 of it, 2.5e3") == "10⁻⁵ of it, 2.5\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10³"
    for kept in ("abnar2025 says", "n_experts: 4", "x_1 1e2f", "'1e9'", "run-1e5"):
        assert written(kept) == kept
    assert Table.of(pd.DataFrame({"a": ["1", "< 2"], "b": ["x", "1"]})).numbers == (True, False)
    assert [number(value, ".5g") for value in (1.7711e-87, -0.0019889, None)] == ["0", "-0.0019889", ""]


@pytest.mark.parametrize(("rows", "said"), [(12, False), (13, True)])
def test_a_table_in_a_box_says_how_long_it_is(rows: int, said: bool) -> None:
    section = Section("key", "Title", "It is so.", tables=[Table.of(pd.DataFrame({"a": range(rows)}), "Things")])
    assert (f'Things<span class="scrolls">: {rows} rows, to scroll' in page_of("t", [], [section])) == said


def test_what_several_curves_lack_is_one_sentence() -> None:
    """Sizes all above the best: each sparsity lacks the same at a budget."""
    runs = small_study().query("active_params > 1.2e8 * (budget / 1e18) ** 0.5")
    following = {each.key: each for each in report(runs, options=FAST).sections}["next"]
    lacks = [each for each in (following.finding, *following.words) if "not bracketed" in each]
    assert len(lacks) == len(set(re.findall(r"At (\S+) FLOPs", " ".join(lacks)))) >= 2
    assert all("S = 0 and 0.875: not bracketed: the smallest size" in each for each in lacks)


def test_the_family_of_a_table_is_its_own() -> None:
    runs = small_study()
    family = family_of_runs(runs)
    assert family is not None
    found = family.columns(3e8, 8.0, 1.0)
    assert found["total_params"] == pytest.approx(3e8 * 6.6, rel=1e-6)
    assert family.flops_per_token(3e8, 8.0, 1.0) == pytest.approx(6 * 3e8, rel=1e-6)
    sizes = np.geomspace(1e6, 1e12, 50)
    assert (np.diff(family.total_params(sizes, 1.0, 1.0)) > 0).all()
    assert family_of_runs(runs.drop(columns=["tokens", "train_flops", "budget"])) is None
    law = ml.fit("hoffmann2022", runs, "lsq-log")
    best = ml.Forecaster(law, family=family).best(1e19, [1, 8])
    assert best.tokens == pytest.approx(1e19 / 6 / best.active_params, rel=1e-3)


@pytest.mark.browser
def test_it_reads_on_a_telephone_in_the_dark_and_on_paper(made: Report, tmp_path: Path, browser: Any) -> None:
    made.save(tmp_path / "page.html")
    for width, scheme, media in (
        (390, "light", None),
        (390, "dark", None),
        (1280, "dark", None),
        (794, "light", "print"),
    ):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        page, asked, complaints = context.new_page(), [], []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.on("console", lambda message, complaints=complaints: complaints.append(message.text))
        if media:
            page.emulate_media(media=media)
        page.goto((tmp_path / "page.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert len(asked) == 1
        assert complaints == []
        # Drawings are turned over in the dark and never on paper; their words are no smaller than two thirds.
        filters = page.evaluate("[...document.querySelectorAll('.drawing svg')].map(e => getComputedStyle(e).filter)")
        assert all((each != "none") == (scheme == "dark" and media is None) for each in filters)
        scale = page.evaluate(
            "Math.min(...[...document.querySelectorAll('.drawing svg')]"
            ".map(e => e.getBoundingClientRect().width / e.viewBox.baseVal.width))"
        )
        assert scale > 0.66
        context.close()


@pytest.mark.validate
def test_the_recorded_study_has_a_page() -> None:
    made = report(ROOT / "data" / "runs" / "isoflop.csv")
    assert made.analyses.why == {}
    assert len(made.html.encode()) < 4e6


def test_a_table_of_experts_and_dense_sizes_alone_is_reported() -> None:
    rng = np.random.default_rng(0)
    experts, size = np.repeat([1, 4, 16, 64], 6), np.tile(np.geomspace(1e7, 1e9, 6), 4)
    loss = 8 * size**-0.06 * experts**-0.03 * np.exp(0.003 * rng.normal(size=24))
    made = report(
        pd.DataFrame({"n_experts": experts, "dense_params": size, "loss": loss}),
        options=ReportOptions(bootstrap=0, laws=("clark2022",)),
    )
    assert "24 runs" in made.sections[0].finding
    assert len(made.sections[0].figures) == 1


def test_equal_products_of_sizes_and_tokens_are_no_budgets() -> None:
    size, tokens = (each.ravel() for each in np.meshgrid([1e8, 2e8, 4e8, 8e8], [1e9, 2e9, 4e9, 8e9]))
    loss = 1.7 + 400 / size**0.34 + 410 / tokens**0.28
    made = report(
        pd.DataFrame({"active_params": size, "tokens": tokens, "n_experts": 1 + (np.arange(16) % 2), "loss": loss}),
        options=ReportOptions(bootstrap=0, laws=("hoffmann2022",)),
    )
    by_key = {section.key: section for section in made.sections}
    assert by_key["table"].finding == "16 runs, all finished."
    few = [line for line in by_key["surfaces"].words if "fewer than three sizes" in line]
    assert few or by_key["surfaces"].finding.startswith("No isoFLOP analysis")


def test_shares_and_r2_are_written_out() -> None:
    assert written("it has R2 0.9, and 100% lie inside") == "It has R² 0.9, and 100\N{NO-BREAK SPACE}% lie inside"
    assert [r2_text(value) for value in (0.92649, -0.0001, -410.948, float("nan"))] == ["0.926", "0.000", "-411", ""]


def test_the_law_stands_there_as_mathematics_with_its_coefficients(made: Report) -> None:
    laws = {each.key: each for each in made.sections}["laws"]
    first = made.analyses.comparison.contenders[0].result
    assert [name for name, _ in laws.laws] == [first.law.name]
    math = re.search(r"<math.*?</math>", made.html).group()
    assert (tags(math).open, tags(math).wrong) == ([], [])
    shown = laws.tables[-1]
    assert [row[0] for row in shown.rows] == list(first.params)
    assert [float(row[1]) for row in shown.rows if "×" not in row[1]] == pytest.approx(
        [value for value, row in zip(first.params.values(), shown.rows, strict=True) if "×" not in row[1]], rel=1e-4
    )


def test_numbers_and_letters_in_drawings_are_those_of_the_text(made: Report) -> None:
    texts = re.findall(r">([^<>]+)</text>", made.html)
    assert any("Nₐ" in text for text in texts)
    assert not [text for text in texts if "N_a" in text or re.search(r"\de\+?\d", text)]


def test_budgets_that_nobody_planned_are_none() -> None:
    """Checkpoints of a few models at like steps: some share their FLOPs by chance."""
    size, tokens = (each.ravel() for each in np.meshgrid([7e7, 1.6e8, 4.1e8, 1e9], np.geomspace(2e9, 3e11, 14)))
    loss = 1.7 + 400 / size**0.34 + 410 / tokens**0.28
    made = report(pd.DataFrame({"loss": loss, "total_params": size, "tokens": tokens}), options=FAST)
    surfaces = {each.key: each for each in made.sections}["surfaces"]
    assert "share their FLOPs with too few others" in surfaces.finding
    assert not surfaces.figures


def test_what_a_table_lacks_is_named(tmp_path: Path) -> None:
    """A stranger's names, and mixtures of which nobody said K."""
    place = tmp_path / "sheet.csv"
    small_study().rename(columns={"loss": "Val loss", "n_experts": "Experts", "tokens": "Tokens"}).drop(
        columns=["top_k", "status"]
    ).to_csv(place, index=False)
    out = tmp_path / "page.html"
    command = ["report", str(place), "--out", str(out), "--laws", "hoffmann2022", "--bootstrap", "20"]
    assert exit_code(command) == 0
    html = out.read_text(encoding="utf-8")
    assert "loss = Val loss" in html
    assert "experts for a token (--map top_k=1 says it for all)" in html
    assert exit_code([*command, "--map", "top_k=1"]) == 0
    assert "times the FLOPs of dense" in out.read_text(encoding="utf-8")
