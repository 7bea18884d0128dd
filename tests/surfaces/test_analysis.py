"""The isoFLOP analysis of a whole table by one call."""

import numpy as np
import pandas as pd
import pytest

import moelaws
import moelaws.surfaces.analysis
from moelaws.surfaces.polynomial import SurfaceError


def _two_budgets() -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for flops, best in ((1e18, 1e8), (1e19, 3e8)):
        for size in best * np.geomspace(0.1, 10, 9):
            loss = 3 - 0.1 * np.log10(flops / 1e18) + 0.02 * np.log(size / best) ** 2 + 1e-4 * rng.normal()
            rows.append({"total_params": size, "loss": loss, "train_flops": flops, "status": "finished"})
    rows += [{"total_params": 1e8, "loss": 2.0, "train_flops": 1e20, "status": "finished"}]
    return pd.DataFrame([*rows, {"total_params": 1e8, "loss": np.nan, "train_flops": 1e18, "status": "diverged"}])


def test_one_call_finds_the_optimum_of_every_budget() -> None:
    found = moelaws.isoflop(_two_budgets(), bootstrap=50)
    optima = found.optima.set_index("budget")
    assert list(found.surfaces) == [1e18, 1e19]
    assert optima["n"].tolist() == pytest.approx([1e8, 3e8, np.nan], rel=0.02, nan_ok=True)
    assert (optima["n_low"] < optima["n"])[:2].all()
    assert optima["status"].iloc[2] == "few sizes"
    assert found.unfinished == 1
    assert found.has_optimum
    record = found.to_dict()
    assert [each["budget"] for each in record["budgets"]] == [1e18, 1e19, 1e20]
    assert record["budgets"][0]["optima"][0]["n"] == optima["n"].iloc[0]
    said = str(found)
    assert said.startswith("1 run did not finish, left out")
    assert "C = 1e+19 FLOPs: 9 runs" in said
    assert "C = 1e+20 FLOPs: 1 run, too few sizes for any optimum" in said


def two_designs() -> pd.DataFrame:
    """Dense runs and mixtures of two designs at one budget: the finer one gains, and shrinks, twice as fast with S."""
    rng, rows = np.random.default_rng(0), []
    for experts, k, g in ((1, 1, 1), (4, 1, 1), (16, 1, 1), (8, 2, 2), (32, 2, 2)):
        s_hat = k * np.log(experts / k)
        best = 1e6 * np.exp(-0.15 * s_hat)
        for size in best * np.geomspace(0.2, 5, 7):
            loss = 3 - 0.02 * s_hat + 0.05 * np.log(size / best) ** 2 + 1e-4 * rng.normal()
            rows.append((experts, k, g, size, loss, 1e15, 1 - k / experts if experts > 1 else 0.0))
    columns = ["n_experts", "top_k", "granularity", "active_params", "loss", "budget", "sparsity"]
    return pd.DataFrame(rows, columns=columns)


def test_designs_have_surfaces_of_their_own_and_share_the_dense_runs() -> None:
    by = moelaws.surfaces.analysis.IsoflopOptions(by=("top_k", "granularity"))
    found = moelaws.isoflop(two_designs(), "active_params", bootstrap=50, options=by)
    assert list(found.surfaces) == [(1e15, 1, 1), (1e15, 2, 2)]
    assert [len(each.runs) for each in found.surfaces.values()] == [21, 21]
    sparse = found.optima[found.optima["sparsity"] == 0.75].set_index(["top_k", "granularity"])
    assert sparse["n"].tolist() == pytest.approx([1e6 * 4**-0.15, 1e6 * 4**-0.3], rel=0.05)
    assert sparse["loss"].tolist() == pytest.approx([3 - 0.02 * np.log(4), 3 - 0.04 * np.log(4)], abs=1e-3)
    assert (sparse["n_low"] < sparse["n"]).all()
    assert "C = 1e+15 FLOPs, top_k = 2, granularity = 2: 21 runs" in str(found)
    assert [each["design"] for each in found.to_dict()["budgets"]] == [
        {"top_k": 1.0, "granularity": 1.0}, {"top_k": 2.0, "granularity": 2.0},
    ]  # fmt: skip
    assert not found.mixed
    titles = [chart["title"] for chart in found.plot().to_dict()["concat"]]
    assert [title.partition(", ")[2] for title in titles] == [
        "top_k = 1, granularity = 1", "top_k = 2, granularity = 2",
    ]  # fmt: skip


def test_designs_that_share_a_surface_are_said_to() -> None:
    found = moelaws.isoflop(two_designs(), "active_params", bootstrap=0)
    assert list(found.surfaces) == [1e15]
    assert "runs of one budget and sparsity differ in top_k and granularity: one surface holds them all" in str(found)
    plain = two_designs().query("top_k == 1")
    assert not moelaws.isoflop(plain, "active_params", bootstrap=0).mixed


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (("kind",), "the runs have no column 'kind' to part them by; they have"),
        (("note",), "row 7, column 'note': expected a number, found 'a'"),
    ],
)
def test_what_cannot_part_runs_is_refused(by: tuple[str, ...], message: str) -> None:
    options = moelaws.surfaces.analysis.IsoflopOptions(by=by)
    with pytest.raises(SurfaceError, match=message):
        moelaws.isoflop(two_designs().assign(note="a"), "active_params", bootstrap=0, options=options)


def test_a_budget_that_is_not_there_is_refused() -> None:
    with pytest.raises(SurfaceError, match=r"no runs of budget 5e\+20; the table has 1e\+18, 1e\+19, 1e\+20 FLOPs"):
        moelaws.isoflop(_two_budgets(), budgets=(1e18, 5e20), bootstrap=0)
