"""Tables that once gave optima that were none, on the command and on the functions; and others of their kinds."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from isoflop_designs import Design, Nature, cell
from moelaws.cli import main
from moelaws.runs import derive
from moelaws.surfaces.isoflop import SurfaceError, budget_of, equal_budgets, fit_parabola, fit_surface, optima
from repository import TESTS

CASES = TESTS / "cases"
HOFFMANN = {1e18: (8.0582e7, 3.53530), 1e19: (2.2796e8, 2.98574), 1e20: (6.4486e8, 2.59985)}
"""Analytic optima of the dense cases: size and loss by budget."""

NATURE = Nature()


@pytest.fixture
def written(tmp_path):
    """The JSON, exit code and printed text of ``moelaws isoflop`` on a case or a table."""

    def run(runs, *arguments, capsys):
        if isinstance(runs, pd.DataFrame):
            path = tmp_path / "runs.csv"
            runs.to_csv(path, index=False)
        else:
            path = CASES / runs / "runs.csv"
        out = tmp_path / "out.json"
        code = main(["isoflop", str(path), "--bootstrap", "60", "--json", str(out), *arguments])
        printed = capsys.readouterr()
        record = json.loads(out.read_text()) if out.exists() else None
        out.unlink(missing_ok=True)
        return code, record, printed

    return run


def rng(seed=0):
    return np.random.default_rng(seed)


def holds(row, prefix, n, loss, within=0.01):
    """Whether intervals hold the truth and the loss lies within so much of it."""
    assert row[f"{prefix}n_low"] < n < row[f"{prefix}n_high"]
    assert row[f"{prefix}loss_low"] < loss < row[f"{prefix}loss_high"]
    return abs(row[f"{prefix}loss"] - loss) < within


@pytest.mark.parametrize("case", ["isoflop_dense", "isoflop_scattered_budgets"])
def test_dense_sweeps_find_the_analytic_optima(case, written, capsys):
    code, record, printed = written(case, capsys=capsys)
    assert code == 0
    assert [budget["budget"] for budget in record["budgets"]] == list(HOFFMANN)
    for budget in record["budgets"]:
        (row,) = budget["optima"]
        assert row["sparsity"] == 0
        assert (row["status"], row["parabola_status"]) == ("optimum", "optimum")
        n, loss = HOFFMANN[budget["budget"]]
        assert holds(row, "", n, loss, 0.001)
        assert holds(row, "parabola_", n, loss, 0.002)
        assert row["n"] == pytest.approx(n, rel=0.03)
    if case == "isoflop_dense":
        assert "sparsity: not in the file, derived as 0, dense" in printed.out
    else:
        assert "C = 1e+18: 7 runs of 9.517e+17 to 1.041e+18 FLOPs; losses moved to 1e+18" in printed.out


def test_dense_functions_need_no_sparsity():
    runs = pd.read_csv(CASES / "isoflop_dense" / "runs.csv")
    for budget, group in runs.groupby(budget_of(runs)):
        n, loss = HOFFMANN[budget]
        (row,) = optima(fit_surface(group, bootstrap=60)).to_dict("records")
        assert holds(row, "", n, loss, 0.001)
        alone = fit_parabola(group)
        assert alone.n_low < n < alone.n_high
        assert alone.loss_low < loss < alone.loss_high


def test_scattered_budgets_on_the_functions():
    runs, _ = derive(pd.read_csv(CASES / "isoflop_scattered_budgets" / "runs.csv"))
    assert budget_of(runs).nunique() == 3
    level = equal_budgets(runs)
    assert level.budgets["budget"].tolist() == [1e18, 1e19, 1e20]
    for budget, group in level.runs.groupby("budget"):
        n, loss = HOFFMANN[float(budget)]
        assert holds(vars(fit_surface(group, bootstrap=60).optimum(0.0)), "", n, loss, 0.001)


def test_three_sizes_give_their_parabola_and_no_interval(written, capsys):
    code, record, printed = written("isoflop_three_sizes", capsys=capsys)
    assert code == 0
    (row,) = record["budgets"][0]["optima"]
    assert (row["status"], row["parabola_status"]) == ("no interval", "no interval")
    for prefix in ("", "parabola_"):
        assert row[f"{prefix}n"] == pytest.approx(6e7, rel=1e-3)
        assert row[f"{prefix}loss"] == pytest.approx(3.0, abs=1e-5)
        assert row[f"{prefix}n_low"] is None
    assert "no interval: that takes a size more than coefficients" in printed.out
    assert "nan" not in printed.out
    assert "depend" not in printed.out


def test_seeds_of_three_sizes_tell_the_noise_but_do_not_test_the_form():
    runs = cell(NATURE, Design(sizes=3, span=3, seeds=2, noise=0.002), rng())
    for found in (fit_surface(runs, bootstrap=60).optimum(0.0), fit_parabola(runs)):
        assert found.status == "no interval"
        assert np.isnan(found.n_low)
        assert found.n == pytest.approx(NATURE.optimum(1e18)[0], rel=0.05)


def test_a_fourth_size_gives_an_interval():
    runs = cell(NATURE, Design(sizes=4, span=3, seeds=2, noise=0.002), rng())
    found = fit_surface(runs, bootstrap=60).optimum(0.0)
    assert found.status == "optimum"
    assert found.n_low < NATURE.optimum(1e18)[0] < found.n_high


def test_wide_wings_do_not_rule_the_optimum(written, capsys):
    code, record, printed = written("isoflop_wide_wings", capsys=capsys)
    assert code == 0
    (row,) = record["budgets"][0]["optima"]
    for prefix in ("", "parabola_"):
        assert row[f"{prefix}status"] == "optimum"
        assert holds(row, prefix, 6.26e7, 3.7628, 0.01)
    assert row["loss_high"] - row["loss_low"] <= 0.03
    assert "runs set aside: too far from the optimum for one curve to hold them; sizes kept" in printed.out
    aside = record["budgets"][0]["set_aside"]
    assert {each["why"] for each in aside} == {"far from the optimum"}
    assert all(abs(np.log(each["total_params"] / 6.26e7)) > 0.9 for each in aside)


def test_wide_wings_on_the_functions():
    runs = pd.read_csv(CASES / "isoflop_wide_wings" / "runs.csv")
    alone, every = fit_parabola(runs), fit_surface(runs, bootstrap=60, every_run=True)
    assert alone.set_aside > 0
    assert alone.n_low < 6.26e7 < alone.n_high
    # All thirteen in one parabola: an optimum below every run.
    assert every.optimum(0.0).loss < runs["loss"].min() - 0.1


def test_wings_of_one_sparsity_do_not_touch_the_others():
    drawn = rng()
    runs = pd.concat([cell(NATURE, Design(sizes=9, span=4, noise=0.002), drawn, s) for s in (0.0, 0.5, 0.75)])
    far = (runs["sparsity"] == 0.5) & (runs["total_params"] > 2.2 * NATURE.optimum(1e18, 0.5)[0])
    surface = fit_surface(runs.assign(loss=runs["loss"].where(~far, runs["loss"] + 1.5)), bootstrap=60)
    assert set(surface.set_aside["sparsity"]) >= {0.5}
    for sparsity in (0.0, 0.5, 0.75):
        assert holds(vars(surface.optimum(sparsity)), "", *NATURE.optimum(1e18, sparsity))


def test_a_run_that_diverged_is_named_and_set_aside(written, capsys):
    runs = cell(NATURE, Design(sizes=9), rng())
    runs.loc[4, "loss"] += 1.2
    code, record, printed = written(runs, capsys=capsys)
    assert code == 0
    assert "row 6 set aside: loss 4.7" in printed.out
    (row,) = record["budgets"][0]["optima"]
    assert holds(row, "", *NATURE.optimum(1e18))
    assert holds(row, "parabola_", *NATURE.optimum(1e18))
    assert record["budgets"][0]["set_aside"][0]["why"] == "contradicts all others"


@pytest.mark.parametrize(
    ("design", "change", "status", "said"),
    [
        (Design(off=1.5), {}, "low edge", "not bracketed: the smallest size tried is best; add sizes below"),
        (Design(off=-1.5), {}, "high edge", "not bracketed: the largest size tried is best; add sizes above"),
        (Design(noise=0.3), {}, "open", "not resolved: noise hides the bend"),
        (Design(sizes=2), {}, "few sizes", "2 sizes: three or more are needed"),
        (Design(sizes=1, seeds=6), {}, "few sizes", "1 size: three or more are needed"),
        (Design(sizes=5), {"loss": [3.66, 3.56, 11.0, 3.55, 3.65]}, "open", "not resolved"),
    ],
)
def test_what_is_no_optimum_is_said_to_be_none(design, change, status, said, written, capsys):
    runs = cell(NATURE, design, rng()).assign(**change)
    code, record, printed = written(runs.drop(columns="sparsity"), capsys=capsys)
    # An edge says on which side the optimum lies; the others say nothing of it, and end as failed fits do.
    assert code == (0 if "edge" in status else 3)
    assert ("no budget and sparsity has an optimum" in printed.err) == (code == 3)
    assert said in printed.out
    (row,) = record["budgets"][0]["optima"]
    assert row["status"] == status
    assert all(row.get(name) is None for name in ("n", "n_low", "n_high", "loss", "parabola_n", "tokens"))
    assert "nan" not in printed.out.lower()


def test_losses_that_only_fall_with_size_have_no_optimum():
    n = np.geomspace(1e7, 1e9, 8)
    runs = pd.DataFrame({"budget": 1e18, "total_params": n, "loss": 5 - 0.1 * np.log(n) + 0.003 * rng().normal(size=8)})
    assert fit_surface(runs, bootstrap=60).optimum(0.0).status == "high edge"
    assert fit_parabola(runs).status == "high edge"


def test_the_order_of_rows_does_not_matter(written, capsys):
    runs = pd.read_csv(CASES / "isoflop_wide_wings" / "runs.csv")
    shuffled = runs.sample(frac=1, random_state=0)
    rows = [written(table, capsys=capsys)[1]["budgets"][0]["optima"][0] for table in (runs, shuffled)]
    assert rows[0]["smallest"] == rows[1]["smallest"] == runs["total_params"].min()
    assert rows[0]["largest"] == rows[1]["largest"] == runs["total_params"].max()
    assert rows[0]["n"] == pytest.approx(rows[1]["n"], rel=1e-9)
    edge = cell(NATURE, Design(off=-1.5), rng()).iloc[::-1]
    printed = written(edge, capsys=capsys)[2]
    assert f"add sizes above {edge['total_params'].max():.3g}" in printed.out


def test_cells_are_judged_one_by_one(written, capsys):
    designs = {0.0: Design(sizes=6), 0.5: Design(sizes=2), 0.75: Design(sizes=6, off=1.4), 0.875: Design(sizes=6)}
    runs = pd.concat([cell(NATURE, design, rng(), s) for s, design in designs.items()])
    code, record, _ = written(runs, capsys=capsys)
    assert code == 0
    status = {row["sparsity"]: row["status"] for row in record["budgets"][0]["optima"]}
    assert status[0.0] == status[0.875] == "optimum"
    assert status[0.5] == "few sizes"
    assert status[0.75] == "low edge"


def test_two_minima_of_equal_depth_are_both_in_the_interval():
    x = np.linspace(-3, 3, 13)
    loss = 3 + 0.05 * (x**2 - 1.5) ** 2 + 0.002 * rng(1).normal(size=13)
    best = fit_surface(pd.DataFrame({"budget": 1e18, "total_params": 1e8 * np.exp(x), "loss": loss})).optimum(0.0)
    assert best.n_low < 1e8 * np.exp(-1.22)
    assert best.n_high > 1e8 * np.exp(1.22)


def test_four_decades_of_sizes():
    n, loss = NATURE.optimum(1e18)
    exact = fit_surface(cell(NATURE, Design(sizes=13, span=100, noise=0), rng()), bootstrap=60).optimum(0.0)
    assert holds(vars(exact), "", n, loss, 0.001)
    drawn, held = rng(), []
    for _ in range(20):
        found = fit_surface(cell(NATURE, Design(sizes=13, span=100), drawn), bootstrap=60).optimum(0.0)
        assert found.n == pytest.approx(n, rel=0.1)
        held.append(found.n_low < n < found.n_high and found.loss_low < loss < found.loss_high)
    assert sum(held) >= 16  # of 20 tables: 95 % each of two intervals, less two standard errors


def test_a_curve_below_every_run_is_no_optimum():
    # A wall beyond the optimum that no polynomial follows: fits to it dip below all runs.
    statuses, drawn = [], rng(4)
    for _ in range(12):
        runs = cell(NATURE, Design(sizes=13, span=20, noise=0.005), drawn)
        far = np.log(runs["total_params"] / NATURE.optimum(1e18)[0]) - 1
        best = fit_surface(runs.assign(loss=runs["loss"] + np.where(far > 0, far**2, 0)), bootstrap=60).optimum(0.0)
        statuses.append(best.status)
        if best.found:
            assert best.loss > runs["loss"].min() - 0.03
    assert "optimum" in statuses


@pytest.mark.parametrize("scatter", [0.0, 0.04, 0.1])
def test_budgets_one_and_a_half_times_apart_stay_apart(scatter):
    random, cells = rng(2), []
    for budget in (1e18, 1.5e18, 2.25e18):
        flops = budget * (1 + scatter * random.uniform(-1, 1, 7))
        n = NATURE.optimum(budget)[0] * np.geomspace(0.2, 5, 7)
        loss = NATURE.loss(n, flops) + 0.001 * random.normal(size=7)
        cells.append(pd.DataFrame({"train_flops": flops, "total_params": n, "loss": loss, "sparsity": 0.0}))
    level = equal_budgets(pd.concat(cells, ignore_index=True))
    assert level.budgets["runs"].tolist() == [7, 7, 7]
    assert level.budgets["budget"].to_numpy() == pytest.approx([1e18, 1.5e18, 2.25e18], rel=0.03)
    for row, (_, group) in zip(level.budgets.itertuples(), level.runs.groupby("budget"), strict=True):
        assert holds(vars(fit_surface(group, bootstrap=60).optimum(0.0)), "", *NATURE.optimum(row.budget))


def test_budgets_a_tenth_apart_that_runs_hit_stay_apart_and_scattered_ones_do_not():
    exact = pd.concat([cell(NATURE, Design(budget=c, sizes=4), rng()) for c in (1e18, 1.1e18, 1.21e18)])
    assert sorted(set(budget_of(exact))) == [1e18, 1.1e18, 1.21e18]
    scattered = exact.assign(budget=1e18 * (1 + 0.1 * rng(3).uniform(-1, 1, len(exact))))
    assert budget_of(scattered).nunique() == 1


def test_flops_that_grow_with_size_do_not_move_the_optimum():
    cells = []
    for budget in (1e18, 1e19):
        n = NATURE.optimum(budget)[0] * np.geomspace(0.2, 5, 7)
        flops = budget * np.linspace(0.93, 1.07, 7)
        loss = NATURE.loss(n, flops) + 0.001 * rng(4).normal(size=7)
        cells.append(pd.DataFrame({"train_flops": flops, "total_params": n, "loss": loss, "sparsity": 0.0}))
    level = equal_budgets(pd.concat(cells, ignore_index=True))
    for budget, group in level.runs.groupby("budget"):
        assert holds(vars(fit_surface(group, bootstrap=60).optimum(0.0)), "", *NATURE.optimum(float(budget)))


def test_flops_that_form_no_budgets_are_refused(written, capsys):
    random = rng(5)
    flops, n = 10 ** random.uniform(18, 20, 60), 10 ** random.uniform(7.3, 9.3, 60)
    runs = pd.DataFrame({"train_flops": flops, "total_params": n, "loss": NATURE.loss(n, flops)})
    code, _, printed = written(runs, capsys=capsys)
    assert code == 2
    assert "too scattered for budgets; name these with --budgets" in printed.err
    assert len(printed.err) < 400
    with pytest.raises(SurfaceError, match="too scattered for budgets"):
        budget_of(runs)


def test_budgets_can_be_named(written, capsys):
    runs = pd.concat([cell(NATURE, replace(Design(), budget=c), rng()) for c in (1e18, 1.15e18, 3e18)])
    runs = runs.rename(columns={"budget": "train_flops"})
    code, record, printed = written(runs, "--budgets", "1.1e18", "--budget-tolerance", "0.15", capsys=capsys)
    assert code == 0
    assert [(each["budget"], each["n_runs"]) for each in record["budgets"]] == [(1.1e18, 14)]
    assert "7 runs left out, more than 15% from every budget named" in printed.out
    code, _, printed = written(runs, "--budgets", "1e18,5e19", capsys=capsys)
    assert code == 2
    assert "no runs of budget 5e+19; the table has 1e+18, 1.15e+18, 3e+18 FLOPs" in printed.err


def test_mixtures_without_experts_per_token_are_refused(written, capsys):
    runs = cell(NATURE, Design(), rng()).drop(columns="sparsity")
    code, _, printed = written(runs.assign(n_experts=8), capsys=capsys)
    assert code == 2
    assert "'n_experts' above 1 but neither 'top_k' nor 'sparsity'" in printed.err
    assert written(runs.assign(n_experts=1), capsys=capsys)[0] == 0


def test_sizes_and_tokens_give_the_budget(written, capsys):
    runs = cell(NATURE, Design(), rng()).drop(columns="sparsity")
    runs = runs.assign(tokens=1e18 / (6 * runs["total_params"])).drop(columns="budget")
    code, record, _ = written(runs, capsys=capsys)
    assert code == 0
    assert record["budgets"][0]["budget"] == pytest.approx(1e18)
    assert fit_surface(runs, bootstrap=0).budget == pytest.approx(1e18)


def test_one_sparsity_that_is_not_zero_is_a_curve_in_size(written, capsys):
    code, record, printed = written(cell(NATURE, Design(), rng(), 0.9), capsys=capsys)
    assert code == 0
    assert record["budgets"][0]["degree"][1:] == [0, 0]
    assert "in ln N, best of 3" in printed.out
    assert holds(record["budgets"][0]["optima"][0], "", *NATURE.optimum(1e18, 0.9))


def test_no_interval_is_without_width_even_without_noise():
    n = 6e7 * np.exp(np.linspace(-1, 1, 6))
    runs = pd.DataFrame({"budget": 1e18, "total_params": n, "loss": 3 + 0.02 * np.log(n / 6e7) ** 2})
    best, alone = fit_surface(runs, bootstrap=60).optimum(0.0), fit_parabola(runs)
    for each in (best, alone):
        assert each.n_low < each.n < each.n_high
        assert each.loss_low < each.loss < each.loss_high
    cells = pd.concat([cell(NATURE, Design(noise=0), rng(), s) for s in (0.0, 0.5)])
    both = optima(fit_surface(cells, degree=(2, 1, 1), bootstrap=60))
    assert (both["n_low"] < both["n_high"]).all()


def test_without_refits_no_interval_is_made_up():
    best = fit_surface(cell(NATURE, Design(), rng()), bootstrap=0).optimum(0.0)
    assert best.status == "no interval"
    assert np.isnan(best.n_low)
