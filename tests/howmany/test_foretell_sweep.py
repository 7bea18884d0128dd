"""Forecasts of a sweep: written once, before its runs, and scored when these have come."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from howmany.designs.planned import planned
from howmany.designs.program_sweeps import packages_1e14
from howmany.designs.sweeps import isoflop_1e13
from howmany.forecasts import foretell_sweep
from howmany.forecasts.foretell_sweep import main
from moelaws.foretelling.planned import foretell, score_forecasts
from moelaws.foretelling.rivals import GROWING
from moelaws.runs import read_runs
from repository import ROOT

STUDY = ROOT / "data/runs/isoflop.csv"


def test_a_plan_is_what_its_runs_turned_out_to_be() -> None:
    plan, runs = planned(isoflop_1e13()), read_runs(STUDY)
    runs = runs[runs["budget"] == 1e13].sort_values(["d_model", "n_experts"], ignore_index=True)
    plan = plan.sort_values(["d_model", "n_experts"], ignore_index=True)
    for name in ("total_params", "active_params", "non_embedding_params", "tokens", "sparsity", "train_flops", "seed"):
        np.testing.assert_allclose(plan[name], runs[name], rtol=1e-12)


def test_the_larger_budget_has_a_plan() -> None:
    plan = planned(packages_1e14())
    assert len(plan) >= 12
    assert set(plan["budget"]) == {1e14}
    assert {(1, 1), (2, 2)} <= set(zip(plan["top_k"], plan["granularity"], strict=True))


def test_forecasts_are_written_once_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = partial(foretell, laws=["hoffmann2022", "abnar2025", GROWING], starts=8)
    monkeypatch.setattr(foretell_sweep, "foretell", few)
    runs = pd.read_csv(STUDY)
    known, out = tmp_path / "known.csv", tmp_path / "forecasts" / "isoflop_1e13.csv"
    runs[(runs["budget"] < 1e13) & runs["n_experts"].isin([1, 4, 16])].to_csv(known, index=False)
    assert main(["isoflop_1e13", str(known), str(out)]) == 0
    told = pd.read_csv(out)
    assert {"hoffmann2022", "abnar2025", "growing", "quadratic", "constant"} <= set(told["law"])
    assert (told["low"] < told["predicted"]).all()
    assert (told["runs_known"] == (runs["budget"].lt(1e13) & runs["n_experts"].isin([1, 4, 16])).sum()).all()
    assert main(["isoflop_1e13", str(known), str(out)]) == 2
    assert "forecasts are written once" in capsys.readouterr().err
    assert main(["isoflop_1e13", str(STUDY), str(tmp_path / "late.csv")]) == 2
    assert "what has been cannot be foretold" in capsys.readouterr().err
    assert main(["isoflop_2e13", str(known), str(tmp_path / "none.csv")]) == 2
    assert not (tmp_path / "late.csv").exists()
    assert main(["isoflop_1e13", str(STUDY), str(out), "--score"]) == 0
    assert "coverage" in capsys.readouterr().out


def test_the_largest_budget_of_the_study_is_foretold_by_a_law_with_its_process() -> None:
    runs = read_runs(STUDY)
    told = foretell(runs[runs["budget"] < 1e13], planned(isoflop_1e13()), ["hoffmann2022", "abnar2025"], starts=32)
    scores = score_forecasts(told, runs).set_index(["law", "process"])
    for name in ("hoffmann2022", "abnar2025"):
        assert scores.loc[(name, True), "admitted"]
        assert scores.loc[(name, True), "runs"] == 24
        assert scores.loc[(name, True), "rmse"] <= 0.010 < scores.loc[(name, False), "rmse"]
        assert scores.loc[(name, True), "coverage"] >= 0.9
