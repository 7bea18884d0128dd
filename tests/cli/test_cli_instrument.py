"""``moelaws compare``, ``predict``, ``speedup``, ``next``: what they print and write; a refusal writes nothing."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

from command_line import exit_code
from fuzz.good import runs
from repository import ROOT


def schema(name: str) -> dict:
    return json.loads((ROOT / "data" / f"{name}.schema.json").read_text())


@pytest.fixture
def table(tmp_path, monkeypatch):
    """The runs of the fuzz: a law, three budgets, three numbers of experts; some names are a reader's own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs.csv"
    runs().rename(columns={"loss": "val/loss"}).to_csv(path, index=False)
    return path


MAP = ("--map", "loss=val/loss")
FIT = str(ROOT / "data" / "fits" / "ours.json")


def test_compare_prints_a_table_and_writes_what_was_asked(table, tmp_path, capsys):
    names = "hoffmann2022,separable"
    line = [
        "compare",
        "runs.csv",
        *MAP,
        "--laws",
        names,
        "--starts",
        "8",
        "--formula",
        "E + A/N^a + B/D^b",
        "--variables",
    ]
    line += ["N=active_params,D=tokens", "--hold-out", "budget", "--hold-out", "n_experts == 4"]
    assert exit_code([*line, "--json", "c.json", "--plot", "c.svg"]) == 0
    printed = capsys.readouterr().out
    assert "held out as budget: the largest budget, 1e+19 FLOPs (21 runs)" in printed
    assert "held out as n_experts == 4: n_experts == 4 (21 runs)" in printed
    assert [word in printed for word in ("hoffmann2022", "separable", "formula")] == [True] * 3
    record = json.loads((tmp_path / "c.json").read_text())
    jsonschema.validate(record, schema("compare"))
    assert [each["name"] for each in record["held_out"]] == ["budget", "n_experts == 4"]
    assert (tmp_path / "c.svg").read_text().startswith("<!-- moelaws chart -->\n<svg")
    assert exit_code([*line, "--plot", "c.svg"]) == 0  # our own is replaced


@pytest.mark.parametrize(
    ("name", "begins"), [("a.svg", b"<!-- moelaws chart"), ("a.png", b"\x89PNG"), ("a.html", b"<!")]
)
def test_a_figure_is_drawn_into_any_of_three_kinds(table, tmp_path, name, begins):
    line = ["speedup", "runs.csv", *MAP, "--budget", "1e18", "--of", "16", "--bootstrap", "20", "--plot", name]
    assert exit_code(line) == 0
    content = (tmp_path / name).read_bytes()
    assert content.startswith(begins)
    assert b"moelaws chart" in content[:400]
    # Names of licences and of XML's own vocabularies are there; nothing is loaded.
    assert b'src="http' not in content
    assert exit_code(line) == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["fit", "runs.csv", *MAP, "--law", "hoffmann2022", "--starts", "4"], "observed"),
        (["isoflop", "runs.csv", *MAP, "--bootstrap", "10", "--variable", "active_params"], "best active"),
        (["plan", "--train-flops", "1e21", "--laws", "abnar2025", "--experts", "1,8"], "dollars"),
    ],
)
def test_other_results_have_figures_too(table, tmp_path, line, says):
    assert exit_code([*line, "--plot", "p.svg"]) == 0
    assert says in (tmp_path / "p.svg").read_text()


def test_what_has_no_figure_says_so(table, tmp_path, capsys):
    runs().head(2).to_csv("two.csv", index=False)
    for line, said in (
        (["isoflop", "two.csv", "--plot", "p.svg"], "nothing to draw"),
        (
            ["speedup", "runs.csv", *MAP, "--law", "abnar2025", "--starts", "2", "--budget", "1e18", "--of", "16"],
            "to draw",
        ),
    ):
        assert exit_code([*line, *(() if "--plot" in line else ("--plot", "p.svg"))]) in (2, 3)
        assert said in capsys.readouterr().err
    assert not (tmp_path / "p.svg").exists()


def test_nothing_of_a_readers_is_replaced_by_a_figure(table, tmp_path, capsys):
    (tmp_path / "mine.svg").write_text("<svg/>")
    line = ["speedup", "runs.csv", *MAP, "--budget", "1e18", "--of", "16", "--bootstrap", "20"]
    for name, said in (("mine.svg", "another file has this name"), ("mine.pdf", "ends in .svg, .png, .html")):
        assert exit_code([*line, "--plot", name, "--json", "new.json"]) == 2
        assert said in capsys.readouterr().err
    assert (tmp_path / "mine.svg").read_text() == "<svg/>"
    assert not (tmp_path / "new.json").exists()


def test_predict_answers_at_points_from_the_line_and_from_a_file(table, tmp_path, capsys):
    line = ["predict", "runs.csv", *MAP, "--law", "hoffmann2022", "--starts", "8"]
    assert exit_code([*line, "--at", "active_params=1e8,tokens=1e10", "--json", "one.json"]) == 0
    pd.DataFrame({"active_params": [1e8, 1e9], "tokens": [1e10, 1e10]}).to_csv("points.csv", index=False)
    assert exit_code([*line, "--points", "points.csv", "--json", "two.json"]) == 0
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    for record in (one, two):
        jsonschema.validate(record, schema("predict"))
    assert one["points"][0]["predicted"] == two["points"][0]["predicted"]
    assert len(two["points"]) == 2
    assert "95 % of a run" in capsys.readouterr().out


def test_predict_and_speedup_read_a_fit_from_its_file(table, tmp_path, capsys):
    fitted = ["fit", "runs.csv", *MAP, "--formula", "E + A/(N^a*X^g) + B/D^b", "--variables"]
    fitted += ["N=active_params,D=tokens,X=n_experts", "--objective", "lsq-log", "--starts", "16", "--json", "fit.json"]
    assert exit_code(fitted) == 0
    assert exit_code(["predict", "--law-fit", "fit.json", "--at", "active_params=1e8,tokens=1e10,n_experts=4"]) == 0
    assert exit_code(["speedup", "--law-fit", "fit.json", "--budget", "1e18", "--of", "16", "--json", "s.json"]) == 0
    record = json.loads((tmp_path / "s.json").read_text())
    jsonschema.validate(record, schema("speedup"))
    assert record["flops"]["value"] > 1
    assert record["seconds"] is None


def test_several_laws_answer_together_where_none_is_named(table, capsys):
    point = "total_params=1e8,active_params=1e8,tokens=1e10,n_experts=1,sparsity=0"
    assert exit_code(["predict", "runs.csv", *MAP, "--starts", "4", "--at", point]) == 0
    assert "mean of" in capsys.readouterr().out


def test_speedup_finds_what_the_law_behind_the_runs_says(table, capsys):
    assert exit_code(["speedup", "runs.csv", *MAP, "--budget", "1e18", "--of", "16", "--json", "s.json"]) == 0
    record = json.loads(Path("s.json").read_text())
    size, law = np.geomspace(1e6, 1e11, 20_000), {"E": 1.7, "A": 400.0, "B": 2000.0, "a": 0.34, "b": 0.37}

    def best(budget: float, experts: int) -> float:
        return (
            law["E"] + law["A"] / size ** law["a"] / experts**0.05 + law["B"] / (budget / 6 / size) ** law["b"]
        ).min()

    budgets = np.geomspace(1e18, 1e19, 400)
    true = budgets[np.argmax([best(c, 1) <= best(1e18, 16) for c in budgets])] / 1e18
    assert record["flops"]["low"] < true < record["flops"]["high"]


def test_speedup_says_the_factor_in_seconds_of_a_device_that_the_runs_never_saw(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs_file = str(ROOT / "data" / "runs" / "isoflop.csv")
    line = ["speedup", runs_file, "--budget", "1e13", "--of", "16", "--bootstrap", "30"]
    found = {}
    for device, more in (("h200", ("--steps", str(ROOT / "data" / "timings" / "training_steps.csv"))), ("b200", ())):
        assert exit_code([*line, "--device", device, *more, "--json", f"{device}.json"]) == 0
        assert "in seconds: " in capsys.readouterr().out
        found[device] = json.loads(Path(f"{device}.json").read_text())
        jsonschema.validate(found[device], schema("speedup"))
        seconds = found[device]["seconds"]
        assert 0.1 < seconds["low"] < seconds["value"] < found[device]["flops"]["value"]
    assert "41 measured steps" in found["h200"]["seconds_why"]
    assert "not measured" in found["b200"]["seconds_why"]


def test_a_law_s_factor_in_seconds_has_the_doubts_of_law_and_device(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs_file = str(ROOT / "data" / "runs" / "isoflop.csv")
    line = ["speedup", "--law-fit", FIT, "--budget", "1e13", "--of", "16", "--times", runs_file]
    found = {}
    for name, more in (("timed", ()), ("h200", ("--device", "h200")), ("foreseen", ("--device", "b200"))):
        assert exit_code([*line, *more, "--json", f"{name}.json"]) == 0
        assert "in seconds: " in capsys.readouterr().out
        found[name] = json.loads(Path(f"{name}.json").read_text())
        jsonschema.validate(found[name], schema("speedup"))
        seconds, flops = found[name]["seconds"], found[name]["flops"]
        assert 0.1 < seconds["low"] < seconds["value"] < flops["value"]
        # The interval in seconds is wider: the device's doubt comes on top of the law's.
        assert seconds["high"] / seconds["low"] > flops["high"] / flops["low"]
    assert found["h200"]["seconds"]["value"] != found["timed"]["seconds"]["value"]
    assert "H200: 41 measured steps" in found["h200"]["seconds_why"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["predict", "runs.csv", *MAP], "name points"),
        (["predict", "--at", "tokens=1"], "name a run table, or a fit"),
        (["predict", "runs.csv", *MAP, "--at", "tokens=x"], "expected a number, found 'x'"),
        (["predict", "runs.csv", *MAP, "--law", "no", "--at", "tokens=1"], "no law 'no'"),
        (
            ["predict", "runs.csv", *MAP, "--law", "hoffmann2022", "--at", "tokens=1e9"],
            "the points: law 'hoffmann2022'",
        ),
        (["compare", "runs.csv", *MAP, "--laws", "hoffmann2022", "--hold-out", "loss <"], "not readable"),
        (["compare", "runs.csv", *MAP, "--hold-out", "loss < 0"], "holds out 0 of 63 runs"),
        (["compare", "runs.csv", *MAP, "--hold-out", "budget", "--hold-out", "budget"], "held out twice"),
        (["compare", "runs.csv", *MAP, "--objective", "mse"], "objective 'mse'"),
        (["compare", "runs.csv", *MAP, "--formula", "E + A/N"], "--formula needs --variables"),
        (["compare", "runs.csv", *MAP, "--formula", "E*F", "--variables", "N=x"], "none of 'N', which --variables"),
        (["predict", "runs.csv", *MAP, "--formula", "1", "--variables", "N=x", "--at", "x=1"], "none of 'N', which"),
        (["compare", "runs.csv", *MAP, "--laws", "hoffmann2022,hoffmann2022"], "two laws are called"),
        (["speedup", "runs.csv", *MAP, "--budget", "1e18", "--of", "5"], "no run with E = 5"),
        (["speedup", "runs.csv", *MAP, "--budget", "1e30", "--of", "4"], "1e+30 is outside"),
        (["speedup", "--budget", "1e18", "--of", "4"], "name a run table"),
        (["speedup", "runs.csv", *MAP, "--budget", "1e18", "--of", "4", "--law", "average"], "name one law"),
        (["speedup", "runs.csv", *MAP, "--budget", "1e18", "--of", "4", "--device", "tpu"], "no measured steps"),
        (["speedup", "runs.csv", *MAP, "--budget", "1e18", "--of", "4", "--device", "h200"], "no column 'd_model'"),
        (["speedup", "runs.csv", *MAP, "--budget", "1e18", "--of", "4", "--steps", "runs.csv"], "goes with --device"),
        (
            ["speedup", "runs.csv", *MAP, "--budget", "1e18", "--of", "4", "--device", "h200", "--steps", "runs.csv"],
            "runs.csv: no column 'device'",
        ),
        (
            ["speedup", "runs.csv", *MAP, "--budget", "1e18", "--of", "4", "--device", "h200", "--times", "runs.csv"],
            "take one",
        ),
        (
            [
                "speedup",
                "runs.csv",
                *MAP,
                "--budget",
                "1e18",
                "--of",
                "4",
                "--device",
                "h200",
                "--law",
                "abnar2025",
                "--starts",
                "2",
            ],
            "no column 'd_model'",
        ),
        (["speedup", "--law-fit", FIT, "--budget", "1e13", "--of", "16", "--device", "h200"], "by --times FILE"),
    ],
)
def test_a_refusal_is_one_sentence_and_writes_nothing(table, tmp_path, capsys, line, said):
    before = sorted(tmp_path.iterdir())
    assert exit_code([*line, "--json", "new.json"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert said in captured.err
    assert sorted(tmp_path.iterdir()) == before


def test_next_prints_runs_and_writes_what_was_asked(table, tmp_path, capsys):
    line = ["next", "runs.csv", *MAP, "--ask", "budget=1e20", "--budget-left", "3e19", "--most", "6", "--at-once", "2"]
    assert exit_code([*line, "--json", "n.json", "--out", "n.csv"]) == 0
    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "n.json").read_text())
    jsonschema.validate(record, schema("next"))
    assert 4 <= len(record["runs"]) <= 6
    assert f"For the loss at 1e+20 FLOPs: {len(record['runs'])} runs" in printed
    # These runs are of a law, and say that it misses less than is taken for granted.
    assert "a process of 0.75 %" in printed
    assert [run["wave"] for run in record["runs"]] == [1, 1, 2, 2, 3, 3][: len(record["runs"])]
    written = pd.read_csv(tmp_path / "n.csv")
    np.testing.assert_allclose(written["train_flops"], [run["train_flops"] for run in record["runs"]])
    # What was proposed can be offered again, and the best of it comes first.
    assert (
        exit_code(["next", "runs.csv", *MAP, "--ask", "budget=1e20", "--budget-left", "1e19", "--candidates", "n.csv"])
        == 0
    )
    assert exit_code([*line, "--json", "n.json", "--out", "n.csv"]) == 0  # our own are replaced


def test_next_makes_a_first_design_without_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["next", "--ask", "best: budget=1e21", "--budget-left", "1e20", "--experts", "1,8,64", "--family", "glu"]
    assert exit_code([*line, "--sizes", "1e7,1e9", "--memory-gb", "64", "--largest-run", "1e19"]) == 0
    assert "For the best number of experts at 1e+21 FLOPs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--ask", "nothing"], "expected NAME=NUMBER"),
        (["--ask", "budget=1e20", "--sizes", "1"], "expected LEAST,MOST"),
        (["--ask", "budget=1e20", "--memory-gb", "1e-6"], "within the limits"),
        (["--ask", "budget=1e20", "--candidates", "runs.csv", "--noise", "2"], "--noise"),
        (["--ask", "budget=1e20", "--out", "runs.csv"], "another file has this name"),
    ],
)
def test_next_refuses_in_a_sentence(table, more, says, capsys):
    assert exit_code(["next", "runs.csv", *MAP, "--budget-left", "1e19", *more]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said) < 400


def test_report_asks_laws_and_holds_out_rows_as_compare_does(table, tmp_path, capsys):
    line = ["report", "runs.csv", *MAP, "--out", "r.html", "--bootstrap", "10", "--laws", "hoffmann2022"]
    own = ["--formula", "E + A/N^a + B/D^b", "--variables", "N=active_params,D=tokens"]
    assert exit_code([*line, *own, "--hold-out", "`val/loss` < 3.2"]) == 0
    assert "held out (`val/loss` < 3.2)" in capsys.readouterr().out
    assert "formula" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert exit_code([*line, "--hold-out", "none"]) == 0
    assert "hoffmann2022 was the one law asked; nothing was held out" in capsys.readouterr().out
    assert exit_code([*line, "--hold-out", "seed =="]) == 2
