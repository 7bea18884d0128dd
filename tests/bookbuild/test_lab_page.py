"""The lab as a reader meets it: a table dropped into the page, by mouse or keyboard, from a file or below a path."""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bookbuild.lab.scripts import install_lab
from bookbuild.site.assets import install_assets
from moelaws.fitting.fit import fit
from repository import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PAGE = (ROOT / "lab.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of one page: what lab.md puts there, without the theme."""
    site = tmp_path_factory.mktemp("site") / "moelaws"
    site.mkdir()
    install_assets(site, ROOT / "_build" / "assets")
    install_lab(site, ROOT)
    blocks = "".join(re.findall(r"```\{raw\} html\n(.*?)```", PAGE, re.DOTALL))
    style = '<link rel="stylesheet" href="_static/book.css" />'
    (site / "_static" / "book.css").write_text((ROOT / "_static" / "book.css").read_text(encoding="utf-8"))
    head = f'<meta charset="utf-8" /><meta name="viewport" content="width=device-width" /><title>lab</title>{style}'
    body = f'<main class="bd-article">{blocks}</main>'
    (site / "lab.html").write_text(f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>')
    return site


@pytest.fixture(scope="module")
def tab(browser: Any) -> Iterator[tuple[Any, list[str]]]:
    """A tab without a network, and what went wrong in it. One for all: each would compile the charts' script anew."""
    context = browser.new_context(offline=True)
    made, faults = context.new_page(), []
    watch(made, faults, ("file:", "blob:", "data:"))
    yield made, faults
    context.close()


@pytest.fixture
def page(place: Path, tab: tuple[Any, list[str]], request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, loaded afresh from a file; a test may say how large its screen is. What goes wrong in it fails it."""
    tab[0].set_viewport_size(getattr(request, "param", {"width": 1280, "height": 900}))
    tab[0].goto((place / "lab.html").as_uri())
    yield tab[0]
    assert _taken(tab[1]) == []


@pytest.fixture
def left(place: Path, tab: tuple[Any, list[str]]) -> Iterator[Any]:
    """The page as another test left it, as readers leave it who give it one table after another."""
    address = (place / "lab.html").as_uri()
    if tab[0].url != address:
        tab[0].goto(address)
    yield tab[0]
    assert _taken(tab[1]) == []


def _taken(faults: list[str]) -> list[str]:
    taken, faults[:] = faults.copy(), []
    return taken


def watch(page: Any, faults: list[str], known: tuple[str, ...]) -> None:
    page.set_default_timeout(90_000)
    page.on("request", lambda request: request.url.startswith(known) or faults.append(f"asks {request.url}"))
    page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))


def in_tokens() -> pd.DataFrame:
    return runs().assign(D=lambda each: each["D"] * 1e9)


def runs(count: int = 40) -> pd.DataFrame:
    """Runs as people write them, in billions of tokens, without a word for it."""
    rng = np.random.default_rng(7)
    table = {"params": np.exp(rng.uniform(17, 23, count)), "D": np.exp(rng.uniform(21, 26, count)) / 1e9}
    expected = 1.7 + 400 / table["params"] ** 0.34 + 410 / (table["D"] * 1e9) ** 0.28
    return pd.DataFrame(table | {"val_loss": expected * np.exp(rng.normal(0, 0.004, count))}).round(6)


def give(page: Any, text: str, name: str = "runs.csv") -> None:
    page.locator("#lab-fit input[type=file]").set_input_files(
        {"name": name, "mimeType": "text/csv", "buffer": text.encode(errors="surrogateescape")}
    )


def is_read(page: Any) -> None:
    """Wait for the form of the table that was given."""
    page.get_by_text("Nothing left your computer").wait_for()


def law_of(page: Any) -> Any:
    return page.locator("#lab-fit").get_by_label("Law", exact=True)


def fit_it(page: Any) -> None:
    page.get_by_role("button", name="Fit", exact=True).click()


def refused(page: Any) -> str:
    alert = page.locator("#lab-fit p[role=alert]")
    page.wait_for_function("() => document.querySelector('#lab-fit p[role=alert]').textContent")
    said = alert.inner_text()
    assert len(said) < 400
    assert said.endswith(".")
    assert not re.search(r"\b(NaN|undefined|null|Infinity|object)\b", said)
    return str(said)


def test_a_table_is_mapped_fitted_and_saved_as_moelaws_fit_does(page: Any, tmp_path: Path) -> None:
    table = runs()
    give(page, table.to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    assert page.locator("#lab-fit").get_by_label("N: parameters").input_value() == "column:params"
    assert page.locator("#lab-fit").get_by_label("L: the loss").input_value() == "column:val_loss"
    page.locator("#lab-fit").get_by_label("unit of D").select_option(label="× billion")
    page.get_by_text("Held-out runs, objective, weights").click()
    page.get_by_label("hold out runs by column").select_option("D")
    page.get_by_label("than").fill("100")
    fit_it(page)
    page.locator(".lab-result h3").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as JSON").click()
    path = tmp_path / "fit.json"
    download.value.save_as(path)
    assert download.value.suggested_filename == "runs.hoffmann2022.json"
    found = json.loads(path.read_text())
    ours = table.rename(columns={"params": "total_params", "D": "tokens", "val_loss": "loss"}).assign(
        tokens=table["D"] * 1e9
    )
    kept = ours["tokens"] < 100e9
    expected = fit("hoffmann2022", ours[kept]).with_holdout(ours[~kept])
    assert expected.holdout is not None
    assert found["objective_value"] == pytest.approx(expected.search.objective_value, rel=1e-6)
    assert found["holdout"]["rmse_log"] == pytest.approx(expected.holdout.rmse_log, rel=1e-4)
    assert found["columns"] == {"N": "total_params", "D": "tokens"}
    command = page.locator(".lab-result pre code").inner_text()
    assert command == (
        "moelaws fit runs.csv --law hoffmann2022 --map total_params=params,tokens=D*1000000000,loss=val_loss"
        " --holdout 'tokens >= 100000000000' --json fit.json"
    )
    cells = page.locator(".lab-result table").first.inner_text()
    assert not re.search(r"\b(NaN|undefined|null|Infinity)\b", cells)
    page.get_by_label("training FLOPs").fill("1e22")
    page.get_by_role("button", name="Find it").click()
    page.get_by_text("What 1e22 training FLOPs buy").wait_for()
    page.wait_for_function("() => [...document.querySelectorAll('.lab-chart')].every(c => c.dataset.state === 'drawn')")


def test_the_command_that_the_page_prints_makes_the_same_fit(page: Any, tmp_path: Path, monkeypatch: Any) -> None:
    import shlex

    from moelaws.cli import main

    give(page, runs().to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    page.locator("#lab-fit").get_by_label("unit of D").select_option(label="× billion")
    page.get_by_text("Held-out runs, objective, weights").click()
    page.get_by_label("hold out runs by column").select_option("D")
    page.get_by_label("than").fill("100")
    fit_it(page)
    page.locator(".lab-result h3").first.wait_for()
    line = shlex.split(page.locator(".lab-result pre code").inner_text())
    monkeypatch.chdir(tmp_path)
    runs().to_csv("runs.csv", index=False)
    assert main(line[1:]) == 0
    shown = page.locator(".lab-result table").first.locator("tr", has_text="alpha").locator("td").first.inner_text()
    found = json.loads(Path("fit.json").read_text())
    assert float(shown) == pytest.approx(found["params"]["alpha"], rel=1e-4)
    held = page.locator(".lab-result tr", has_text="held out").locator("td").first.inner_text()
    assert int(held) == found["holdout"]["n"] > 0


def test_one_of_two_perplexities_is_chosen_here_and_in_the_command(page: Any, tmp_path: Path, monkeypatch: Any) -> None:
    import shlex

    from moelaws.cli import main

    table = in_tokens().rename(columns={"D": "tokens"})
    losses = table.pop("val_loss")
    table = table.assign(**{"ppl on c4": np.exp(losses), "ppl on wiki": np.exp(losses + 0.2)})
    give(page, table.to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    page.locator("#lab-fit").get_by_label("L: the loss").select_option("ln:ppl on wiki")
    fit_it(page)
    page.locator(".lab-result h3").first.wait_for()
    line = shlex.split(page.locator(".lab-result pre code").inner_text())
    monkeypatch.chdir(tmp_path)
    table.to_csv("runs.csv", index=False)
    assert main(line[1:]) == 0
    shown = page.locator(".lab-result table").first.locator("tr", has_text="alpha").locator("td").first.inner_text()
    assert float(shown) == pytest.approx(json.loads(Path("fit.json").read_text())["params"]["alpha"], rel=1e-4)


def test_a_formula_of_ones_own_is_fitted(page: Any) -> None:
    give(page, runs().rename(columns={"params": "N"}).to_csv(index=False))
    law_of(page).select_option(label="a formula of your own")
    formula = page.get_by_label("formula", exact=True)
    formula.fill("E + A/N^alpha + B/(D*")
    formula.press("Tab")
    page.get_by_text("it ends too early").wait_for()
    formula.fill("E + A/N^alpha + B/D^beta")
    formula.press("Tab")
    fit_it(page)
    page.get_by_text("Your formula, fitted").wait_for()
    assert page.locator(".lab-result table").first.locator("tbody tr").count() == 5


BAD = {
    "empty": ("", "the file is empty"),
    "header": ("params,D,val_loss\n", "no rows"),
    "twice": ("params,params\n1,2\n", "both called 'params'"),
    "long": (
        "params,D,val_loss\n1e9,2,3,4\n",
        "row 2 has 4 cells where the header has 3: not a CSV table",
    ),
    "short": ("params,D,val_loss\n1e9,2,3\n1e9,2\n", "row 3 has 2 cells where the header has 3"),
    "quote": ('params,D,val_loss\n1e9,"2,3\n', "a quote is not closed"),
    "page": ("<html><body>x</body></html>", "a page of HTML"),
    "json": ('{"params": [1, 2', "line 1: not JSON; expected a record a line"),
    "list": ("[1, 2]", "row 1: expected a record in JSON, found 1"),
    "latin": ("params,D,val_loss\n1e9,2,3\udcff\n", "not UTF-8 text"),
    "again": ("params,D,val_loss\n1e9,2,3\n1e8,2,3\n1e9,2,3\n", "row 4 repeats row 2"),
    "bytes": ("params\0\n", "not text"),
    "run": ("params,run_id\n1,a\n2,a\n", "row 3, column 'run_id': 'a' occurs twice"),
    "key": ('{"params": 1, "D": 2, "params": 3}', "a record has the key 'params' twice"),
    "markdown": ("| params | D |\n|---|---|\n| 1 | 2 |\n", "a table in Markdown"),
    "after a quote": ('params,D\n"1"2,3\n', "row 2: not a CSV table"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_table_is_refused_in_a_sentence(left: Any, name: str) -> None:
    text, words = BAD[name]
    give(left, text or "\n \n")
    assert words in refused(left)


@cache
def odd_tables() -> dict[str, tuple[str, bytes]]:
    """A table as programs and people write it: file name and bytes."""
    table = runs().assign(D=lambda each: (each["D"] * 1e9).round())
    plain, whole = table.to_csv(index=False), table["params"].round().map("{:,.0f}".format)
    european = table.assign(params=whole.str.replace(",", "."))
    in_words = table.assign(
        params=(table["params"] / 1e6).map("{:.4g}M".format), D=table["D"].map("{:.4g} tokens".format)
    )
    quoted = "\n".join('"' + '", "'.join(line.split(",")) + '"' for line in plain.splitlines())
    state = table.assign(State=["crashed" if i in (3, 5) else "finished" for i in range(len(table))])
    ppl = table.assign(ppl=np.exp(table["val_loss"])).drop(columns="val_loss")
    flops = table.assign(flops=6 * table["params"] * table["D"]).drop(columns="D")
    wide = pd.concat([table, pd.DataFrame({f"note {i}": i for i in range(400)}, index=table.index)], axis=1)
    nested = [{"tokens": d, "params": n, "metrics": {"val_loss": loss}} for n, d, loss in table.to_numpy()]
    return {
        "bom": ("runs.csv", b"\xef\xbb\xbf" + plain.encode()),
        "tabs": ("runs.tsv", table.to_csv(index=False, sep="\t").encode()),
        "decimal commas": ("runs.csv", table.to_csv(index=False, sep=";", decimal=",").encode()),
        "points group": ("runs.csv", european.to_csv(index=False, sep=";", decimal=",").encode()),
        "commas group": ("runs.csv", table.assign(params=whole).to_csv(index=False).encode()),
        "comments": ("runs.csv", b"# my runs\n\n" + plain.encode()),
        "carriage returns": ("runs.csv", plain.replace("\n", "\r").encode()),
        "an index": ("runs.csv", table.to_csv().encode()),
        "records": ("runs.jsonl", table.to_json(orient="records", lines=True).encode()),
        "a list": ("runs.json", table.to_json(orient="records").encode()),
        "columns": ("runs.json", json.dumps(table.to_dict("list")).encode()),
        "among others": ("runs.json", json.dumps({"made": "Monday", "runs": table.to_dict("records")}).encode()),
        "split": ("runs.json", table.to_json(orient="split").encode()),
        "by name": ("runs.json", table.set_axis([f"run {i}" for i in table.index]).to_json(orient="index").encode()),
        "by column": ("runs.json", table.to_json(orient="columns").encode()),
        "nested": ("runs.jsonl", "\n".join(map(json.dumps, nested)).encode()),
        "separator said": ("runs.csv", f"sep=;\r\n{table.to_csv(index=False, sep=';')}".encode()),
        "utf-16": ("runs.tsv", table.to_csv(index=False, sep="\t").encode("utf-16")),
        "units in cells": ("runs.csv", in_words.to_csv(index=False).encode()),
        "perplexity": (
            "runs.csv",
            ppl.to_csv(index=False).encode(),
        ),
        "gzip": ("runs.csv.gz", gzip.compress(plain.encode())),
        "spaces before quotes": ("runs.csv", quoted.encode()),
        "state": ("runs.csv", state.to_csv(index=False).encode()),
        "tokens from FLOPs": ("runs.csv", flops.to_csv(index=False).encode()),
        "wide": ("runs.csv", wide.to_csv(index=False).encode()),
        "few": ("runs.csv", table.head(5).to_csv(index=False).encode()),
    }


ASKED = """
() => {
  window.Real = window.Real || window.Worker;
  window.asked = null;
  window.Worker = class {
    postMessage({ job }) { window.asked = job; this.onmessage({ data: { error: "Not fitted." } }); }
    terminate() {}
  };
}
"""
"""Has the page keep what it asks the engine, which is not at work."""

FITTED = ("comments", "nested", "state", "few")
"""Tables that are fitted in the page: the engine is told the same runs of the others."""


def by_the_command(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `moelaws fit` writes of a table, which is then in this folder."""
    from moelaws.cli import main

    file, content = odd_tables()[name]
    monkeypatch.chdir(folder)
    Path(file).write_bytes(content)
    mapped = "total_params=params,loss=metrics.val_loss" if name == "nested" else "auto"
    assert main(["fit", file, "--law", "hoffmann2022", "--map", mapped, "--json", "ours.json"]) == 0
    return json.loads(Path("ours.json").read_text())


def by_the_page(page: Any, name: str, folder: Path) -> None:
    """Have the page fit the same file."""
    page.locator("#lab-fit input[type=file]").set_input_files(folder / odd_tables()[name][0])
    is_read(page)
    law_of(page).select_option("hoffmann2022")
    if name == "nested":
        page.locator("#lab-fit").get_by_label("L: the loss").select_option("column:metrics.val_loss")
    fit_it(page)


@pytest.mark.parametrize("name", [each for each in odd_tables() if each not in FITTED])
def test_a_table_is_read_as_moelaws_fit_reads_it(
    left: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = by_the_command(name, tmp_path, monkeypatch)
    left.evaluate(ASKED)
    by_the_page(left, name, tmp_path)
    left.wait_for_function("() => window.asked")
    asked = left.evaluate("() => { window.Worker = window.Real; return window.asked; }")
    for same in ("columns", "derived"):
        assert asked[same] == ours[same], same
    assert asked["ranges"] == {name: pytest.approx(ends, rel=1e-6) for name, ends in ours["ranges"].items()}
    assert asked["law"] == {"name": "hoffmann2022"}
    assert not any(asked[each] for each in ("weights", "seeds", "holdout"))
    assert len(asked["target"]) == ours["n_runs"]
    columns = {column: asked["data"][letter] for letter, column in asked["columns"].items()}
    again = fit("hoffmann2022", columns | {"loss": asked["target"]}, asked["objective"], seed=asked["seed"])
    assert again.search.objective_value == pytest.approx(ours["objective_value"], rel=1e-6)


@pytest.mark.parametrize("name", FITTED)
def test_a_fit_is_written_as_moelaws_fit_writes_it(
    left: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = by_the_command(name, tmp_path, monkeypatch)
    by_the_page(left, name, tmp_path)
    left.locator(".lab-result h3").first.wait_for()
    with left.expect_download() as download:
        left.get_by_role("button", name="Save as JSON").click()
    theirs = json.loads(Path(download.value.path()).read_text())
    # The page knows no versions of Python's packages.
    assert theirs.keys() == ours.keys() - {"provenance"}
    assert theirs["objective_value"] == pytest.approx(ours["objective_value"], rel=1e-6)
    for same in ("n_runs", "columns", "derived"):
        assert theirs[same] == ours[same], same
    assert theirs["ranges"] == {name: pytest.approx(ends, rel=1e-6) for name, ends in ours["ranges"].items()}
    assert theirs["interval_ends"] == ours["interval_ends"]
    for each, ends in ours["intervals"].items():
        assert theirs["intervals"][each] == pytest.approx(ends, rel=1e-2)


UNITS = {
    "parameters in millions": (
        "params",
        1e6,
        "too few for a model; in which unit is it? Choose the unit of N",
    ),
    "tokens in billions": ("D", 1e9, "tokens are too few for a run; in which unit is it? Choose the unit of D"),
}


@pytest.mark.parametrize("name", UNITS)
def test_a_number_that_cannot_be_meant_is_asked_for_its_unit_as_moelaws_fit_asks(page: Any, name: str) -> None:
    column, factor, words = UNITS[name]
    letter = words[-1]
    table = in_tokens()
    give(page, table.assign(**{column: table[column] / factor}).to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    fit_it(page)
    assert words in refused(page)
    page.locator("#lab-fit").get_by_label(f"unit of {letter}").select_option(str(int(factor)))
    fit_it(page)
    page.get_by_text("Fitted 40 runs").wait_for()


def test_what_a_table_says_twice_and_not_alike_is_told(
    page: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from moelaws.cli import main

    table = in_tokens().assign(train_flops=lambda each: 7 * each["params"] * each["D"])
    table.to_csv(tmp_path / "runs.csv", index=False)
    assert main(["runs", str(tmp_path / "runs.csv")]) == 0
    said = re.search(r"train_flops is not .* as they are", capsys.readouterr().out.replace("\n", " "))
    assert said is not None
    give(page, table.to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    fit_it(page)
    page.get_by_text("Fitted 40 runs").wait_for()
    assert said[0][1:] in page.locator(".lab-result").inner_text()


CELLS = {
    "word": ("val_loss", 3, "oops", "row 5, column 'val_loss': found 'oops', expected a finite number > 0"),
    "nothing": ("val_loss", 0, "", "row 2, column 'val_loss': found nothing, expected a finite number > 0"),
    "negative": ("params", 9, "-1", "row 11, column 'params': found '-1', expected"),
    "zero": ("D", 39, "0", "row 41, column 'D': found '0', expected"),
    "nan": ("val_loss", 1, "nan", "row 3, column 'val_loss': found 'nan'"),
    "inf": ("params", 1, "inf", "row 3, column 'params': found 'inf'"),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_that_cannot_be_is_named_by_row_and_column(left: Any, name: str) -> None:
    column, row, cell, words = CELLS[name]
    table = runs().astype(str)
    table.loc[row, column] = cell
    give(left, table.to_csv(index=False))
    is_read(left)
    law_of(left).select_option("hoffmann2022")
    fit_it(left)
    assert words in refused(left)


def test_columns_that_do_not_vary_or_were_not_chosen_and_held_out_rows_that_are_not_there(page: Any) -> None:
    give(page, runs().assign(D=2e10).to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    fit_it(page)
    assert "column 'D' is 2e10 in all 40 runs; the law needs it to vary (D)" in refused(page)
    page.locator("#lab-fit").get_by_label("D: training tokens").select_option("")
    fit_it(page)
    page.get_by_text("Choose the column that holds D: training tokens.").wait_for()
    give(page, in_tokens().to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    page.get_by_text("Held-out runs, objective, weights").click()
    page.get_by_label("hold out runs by column").select_option("D")
    page.get_by_label("than").fill("1e19")
    fit_it(page)
    page.get_by_text("Held-out runs 'D >= 1e19': no finished run meets it.").wait_for()


def test_words_for_the_status_semicolons_commas_and_what_follows_from_other_columns(page: Any) -> None:
    rng = np.random.default_rng(3)
    table = runs(60).assign(E=rng.choice([2, 4, 8, 16], 60), K=1, status="finished")
    table.loc[[4, 9], "status"] = ["crashed (oom)", "diverged"]
    text = table.to_csv(index=False, sep=";", decimal=",")
    give(page, text)
    assert law_of(page).input_value() == "abnar2025"
    assert page.locator("#lab-fit").get_by_label("S: inactive share").input_value() == "rule:sparsity:(E - K) / E"
    law_of(page).select_option("hoffmann2022")
    page.locator("#lab-fit").get_by_label("unit of D").select_option(label="× billion")
    fit_it(page)
    page.get_by_text("Fitted 58 runs").wait_for()
    assert "2 rows of runs that did not finish are left out" in page.locator(".lab-verdict").inner_text()
    table.loc[0, "status"] = "perhaps"
    give(page, table.to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    fit_it(page)
    assert "row 2, column 'status': found 'perhaps'" in refused(page).lower()


def test_a_fit_is_stopped(page: Any) -> None:
    give(page, (ROOT / "data" / "runs" / "isoflop.csv").read_text())
    law_of(page).select_option("abnar2025")
    fit_it(page)
    page.get_by_role("button", name="Stop").click()
    assert refused(page) == "Stopped; nothing was fitted."
    assert page.get_by_role("button", name="Fit", exact=True).is_enabled()


def test_the_keyboard_alone_opens_the_example_and_moves_a_slider(page: Any) -> None:
    page.locator("#lab-explore .lab-chart").wait_for()
    example = page.get_by_role("button", name="Use this book's runs")
    for _ in range(3):
        page.keyboard.press("Tab")
        if example.evaluate("each => each === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.get_by_text("332 rows").wait_for()
    answer = page.locator("#lab-explore .lab-answer")
    before = answer.inner_text()
    page.locator("#lab-explore").get_by_label("D: training tokens").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('#lab-explore .lab-answer').innerText !== before", arg=before
    )
    assert page.evaluate("() => document.activeElement.type") == "range"
    assert page.evaluate("() => document.activeElement.getAttribute('aria-valuetext')") == "1.26e11"


def test_the_keyboard_goes_through_the_form_in_its_order_with_a_visible_focus(page: Any) -> None:
    give(page, in_tokens().to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    page.get_by_text("Held-out runs, objective, weights").click()
    page.locator("#lab-fit input[type=file]").focus()
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        at, text, outline = page.evaluate(
            """() => { const each = document.activeElement;
              const all = [...document.querySelectorAll('#lab-fit :is(input, select, button, summary)')];
              const outline = getComputedStyle(each).outlineStyle;
              return [all.filter(e => e.offsetParent).indexOf(each), each.textContent, outline]; }"""
        )
        if at < 0:
            break
        assert outline == "solid", text
        seen.append(at)
    count = page.evaluate(
        "() => [...document.querySelectorAll('#lab-fit :is(input, select, button, summary)')]"
        ".filter(each => each.offsetParent).length"
    )
    assert seen == list(range(1, count))
    page.get_by_role("button", name="Fit", exact=True).focus()
    page.keyboard.press("Enter")
    page.locator(".lab-result h3").first.wait_for()
    assert page.evaluate("() => document.activeElement.textContent") == "hoffmann2022, fitted"


@pytest.mark.parametrize("page", [{"width": 390, "height": 500}], indirect=True, ids=["small"])
def test_what_went_wrong_is_in_view_where_fit_was_pressed_and_progress_is_not_read_out(page: Any) -> None:
    give(page, in_tokens().rename(columns={"D": "seen"}).to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    fit_it(page)
    assert "Choose the column that holds D" in refused(page)
    box = page.locator("#lab-fit p[role=alert]").bounding_box()
    assert 0 <= box["y"] < 500 - box["height"]
    give(page, in_tokens().to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    page.evaluate(
        """() => { window.told = [];
          const live = document.querySelector('#lab-fit .lab-said');
          new MutationObserver(() => told.push(live.innerText)).observe(live, { childList: true, subtree: true }); }"""
    )
    fit_it(page)
    page.get_by_text("Fitted 40 runs").wait_for()
    assert page.evaluate("() => told.length") == 2


def test_every_control_has_a_name_and_every_table_a_caption(page: Any) -> None:
    page.get_by_role("button", name="Use this book's runs").click()
    page.get_by_text("332 rows").wait_for()
    bare = page.evaluate(
        """() => [...document.querySelectorAll('.lab :is(input, select, button, progress)')].filter(each =>
             !(each.labels && [...each.labels].some(l => l.textContent.trim())) && !each.textContent.trim()
             && !each.getAttribute('aria-label')).map(each => each.outerHTML)"""
    )
    assert bare == []
    assert page.locator(".lab table").count() == page.locator(".lab table caption").count() > 0


def test_explorer_plan_and_experts_touched_say_what_the_library_says(page: Any) -> None:
    import moelaws as ml
    from moelaws.serving import even_experts

    page.locator("#lab-touched .lab-chart").wait_for()
    law = ml.law("abnar2025")
    table = {"total_params": 10**9.5, "tokens": 1e11, "sparsity": 0.75}
    loss = float(law.predict(law.published["table3"], table))
    assert f"L = {loss:.5g} nats per token" in page.locator("#lab-explore .lab-answer").inner_text()
    touched = float(even_experts(64, 2, 32))
    assert f"reads {touched:.3g} of 64 experts" in page.locator("#lab-touched .lab-answer").inner_text()
    best = ml.Forecaster("abnar2025").best(1e21, experts=64)
    cells = page.locator("#lab-plan tr", has_text="E = 64").locator("td").all_inner_texts()
    assert float(cells[3]) == pytest.approx(best.loss, abs=6e-4)
    assert float(cells[2]) == pytest.approx(best.tokens, rel=6e-3)


@pytest.mark.parametrize(
    "page", [{"width": w, "height": 844} for w in (1280, 390)], indirect=True, ids=["desk", "phone"]
)
def test_nothing_is_wider_than_the_screen(page: Any) -> None:
    give(page, in_tokens().to_csv(index=False))
    law_of(page).select_option("hoffmann2022")
    page.get_by_text("Held-out runs, objective, weights").click()
    page.get_by_text("Move the coefficients").click()
    fit_it(page)
    page.locator(".lab-result h3").first.wait_for()
    page.wait_for_function("() => document.querySelectorAll('.lab-chart[data-state=drawn]').length >= 4")
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0


def test_it_works_below_a_path_of_a_server(place: Path, browser: Any) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(place.parent))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, faults = f"http://127.0.0.1:{server.server_port}", []
    context = browser.new_context()
    page = context.new_page()
    watch(page, faults, (f"{address}/moelaws/", "blob:", "data:"))
    try:
        page.goto(f"{address}/moelaws/lab.html")
        give(page, runs().to_csv(index=False))
        law_of(page).select_option("hoffmann2022")
        page.locator("#lab-fit").get_by_label("unit of D").select_option(label="× billion")
        fit_it(page)
        page.get_by_text("Fitted 40 runs").wait_for()
    finally:
        context.close()
        server.shutdown()
        server.server_close()
    assert [each for each in faults if "favicon" not in each and "404" not in each] == []


def test_without_scripts_it_says_how_to_do_the_same(place: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((place / "lab.html").as_uri())
    assert "moelaws fit runs.csv" in page.locator("#lab-fit").inner_text()
    context.close()
