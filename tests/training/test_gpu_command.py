"""`make gpu`, at smoke size on a CPU: the way that a GPU goes."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from moelaws.runs import read_runs
from repository import ROOT

SCRIPT = ROOT / "benchmarks" / "gpu.py"
SMOKE = ("--smoke", "--device", "cpu")


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """The script, in this process."""
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.validate
def test_the_command_measures_trains_and_goes_on(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = [sys.executable, str(SCRIPT), *SMOKE, "--out", str(tmp_path)]
    first = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "2 runs trained" in first.stdout
    steps = pd.read_csv(tmp_path / "steps.csv")
    assert list(zip(steps["d_model"], steps["n_experts"], strict=True)) == [(16, 1), (16, 4)]
    assert (steps["step_ms"] > 0).all()
    assert (steps["router_ms"] > 0).tolist() == [False, True]
    assert (steps["dense_step_ms"] > 0).all()
    assert len(read_runs(tmp_path / "smoke.csv")) == 2
    monkeypatch.setattr(sys, "argv", line[1:])
    assert gpu.main() == 0
    again = capfd.readouterr().out
    assert "steps:" not in again
    assert "runs trained" not in again or "0 runs trained" in again


def test_somebody_elses_file_is_left_alone(gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "steps.csv"
    theirs.write_text("mine\n1\n")
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *SMOKE, "--parts", "steps", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="found another file"):
        gpu.main()
    assert theirs.read_text() == "mine\n1\n"


def test_rows_from_before_are_given_the_dense_step_of_their_width(gpu: ModuleType) -> None:
    table = pd.DataFrame(
        {"device": "x", "d_model": [16, 16, 32], "n_experts": [1, 4, 4], "tokens": 512, "step_ms": [2.0, 3.0, 5.0],
         "useful_gflops": 1.0}
    )  # fmt: skip
    assert gpu.with_dense(table)["dense_step_ms"].tolist()[:2] == [2.0, 2.0]
    assert gpu.with_dense(table.assign(dense_step_ms=[2.0, 1.5, 4.0]))["dense_step_ms"].tolist() == [2.0, 1.5, 4.0]
