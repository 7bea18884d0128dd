"""``moelaws plan``: what it prints, writes, refuses, and how long it takes."""

import json
import subprocess
import sys
from dataclasses import fields

import pytest

from command_line import exit_code
from known_machine import TRUTH, timed
from moelaws.cli import main
from moelaws.serving import forecasters
from moelaws.serving.planning.plan import Row

USUAL = ["plan", "--train-flops", "1e21", "--serve-tokens", "1e12"]


def test_a_plan_is_printed_and_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(forecasters, "OURS", forecasters.Path("data/fits/absent.json"))
    out = tmp_path / "plan.json"
    arguments = [
        "--hardware",
        "a100-40gb",
        "--gpus",
        "8",
        "--laws",
        "abnar2025,ludziejewski2025,ours",
        "--json",
        str(out),
    ]
    assert main([*USUAL, *arguments]) == 0
    printed = capsys.readouterr().out
    assert "1e+12 tokens to serve on up to 8 x a100-40gb at $1.5 an hour each" in printed
    assert printed.count("  to save: E = ") == 2
    assert "ours: no fit of the book's own runs" in printed
    assert "The laws' cheapest options lie apart by a factor of" in printed
    written = json.loads(out.read_text())
    assert [each["law"] for each in written["laws"]] == ["abnar2025", "ludziejewski2025"]
    assert set(written["laws"][0]["rows"][0]) == {f.name for f in fields(Row)}
    assert "ours" in written["refused"]
    for each in written["laws"]:
        cheapest = each["cheapest"]
        assert cheapest["loss"] <= each["target_loss"] + 1e-4
        assert cheapest["total_dollars"] == pytest.approx(cheapest["train_dollars"] + cheapest["serve_dollars"])
        assert cheapest["train_dollars"] == pytest.approx(cheapest["train_flops"] / (0.4 * 312e12) * 1.5 / 3600)
        # Yun's point: an over-trained mixture is cheaper than the loss-optimal dense model.
        dense = next(r for r in each["rows"] if r["kind"] == "loss-optimal" and r["n_experts"] == 1)
        assert cheapest["n_experts"] > 1
        assert cheapest["total_dollars"] < dense["total_dollars"]


def test_prices_and_prompts_are_options(capsys):
    assert main([*USUAL, "--laws", "abnar2025", "--dollars-per-hour", "3", "--experts", "1,8", "--top-k", "2"]) == 0
    printed = capsys.readouterr().out
    assert "at $3 an hour each" in printed
    assert "E = 8, K = 2" in printed


def test_a_fit_of_ones_own_plans_beside_the_published(tmp_path, capsys):
    path = tmp_path / "mine.json"
    abnar = forecasters.published("abnar2025")
    content = {"law": "abnar2025", "formula": abnar.law.formula, "params": dict(abnar.params)}
    path.write_text(json.dumps(content | {"ranges": {"train_flops": [1e11, 1e13]}}))
    arguments = ["--laws", "abnar2025", "--law-fit", str(path), "--family", "proportional", "--experts", "1,8"]
    assert main([*USUAL, *arguments]) == 0
    printed = capsys.readouterr().out
    assert "\nmine: loss to reach" in printed
    assert "1.00 in total_params" in printed  # the same law twice
    assert "note: the law was fitted to budgets of 1e+11 to 1e+13 FLOPs; this is an extrapolation" in printed


def test_the_readers_own_machine_from_its_timings(tmp_path, capsys):
    path = tmp_path / "laptop.csv"
    timed(0.03).to_csv(path, index=False)
    out = tmp_path / "plan.json"
    arguments = ["--train-flops", "1e16", "--serve-tokens", "1e7", "--timings", str(path), "--memory-gb", "2"]
    assert main(["plan", *arguments, "--laws", "abnar2025", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "laptop.csv: decode steps of unseen configurations predicted within" in printed
    assert "up to 1 x laptop at $0.1 an hour each" in printed
    cheapest = json.loads(out.read_text())["laws"][0]["cheapest"]
    # Weights in fp32, training at the arithmetic of the machine that made the timings.
    assert cheapest["memory_gb"] == pytest.approx(4 * cheapest["total_params"] / 1e9)
    seconds = cheapest["train_flops"] / TRUTH.flops_per_second
    assert cheapest["train_dollars"] == pytest.approx(seconds * 0.1 / 3600, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train-flops", "0"], "--train-flops: expected a number > 1 and at most 1e+40, found '0'"),
        (
            ["--train-flops", "1.5", "--experts", "1"],
            "abnar2025: no model reaches the loss with 1.5 FLOPs of training",
        ),
        (["--train-flops", "1e21", "--output-tokens", "1e-320"], "--output-tokens: expected a number > 0.001"),
        (["--train-flops", "1e21", "--hardware", "abacus"], "no hardware 'abacus'; there are 'a100-40gb'"),
        (["--train-flops", "1e21", "--laws", "clark2022"], "law 'clark2022' cannot plan"),
        (["--train-flops", "1e21", "--loss", "0.5"], "abnar2025: the loss 0.5 is below the law's floor"),
        (["--train-flops", "1e30", "--gpus", "1"], "abnar2025: a model with E = "),
        (["--train-flops", "1e21", "--law-fit", "none.json"], "none.json: cannot be read (No such file or directory)"),
        (["--train-flops", "1e21", "--json", "no/where.json"], "cannot be written"),
    ],
)
def test_impossible_requests_end_with_a_sentence(arguments, message, capsys):
    assert exit_code(["plan", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_only_a_missing_fit_is_an_error(capsys, monkeypatch):
    monkeypatch.setattr(forecasters, "OURS", forecasters.Path("data/fits/absent.json"))
    assert main([*USUAL, "--laws", "ours"]) == 2
    assert "no fit of the book's own runs" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--gpus", "0"], ["--experts", "1,x"], ["--loss", "low"]])
def test_options_that_are_no_numbers_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as refused:
        main([*USUAL, *arguments])
    assert refused.value.code == 2
    assert "expected" in capsys.readouterr().err


def test_a_plan_costs_little_more_than_to_import_what_it_needs() -> None:
    """Two seconds on most machines, of which half are imports: what loads more, such as PyTorch, doubles them."""
    needed = "import numpy, pandas, scipy.optimize"
    plan = f"from moelaws.cli import main; main({USUAL!r})"
    # Processor time of whole processes in turns, the best of three: whatever else the machine does, it does to both.
    taken = []
    for _ in range(3):
        taken.append([_processor_seconds(code) for code in (needed, plan)])
        bare, whole = map(min, zip(*taken, strict=True))
        if whole < 3 * bare:
            break
    assert whole < 3 * bare


def _processor_seconds(code: str) -> float:
    told = (
        "import resource; used = resource.getrusage(resource.RUSAGE_SELF); print('CPU', used.ru_utime + used.ru_stime)"
    )
    done = subprocess.run([sys.executable, "-c", f"{code}\n{told}"], capture_output=True, text=True, check=True)
    return float(done.stdout.rpartition("CPU ")[2])
