"""``moelaws fit``: what it writes, what it refuses, and that a refusal writes nothing."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from moelaws.cli import main
from moelaws.fitting.fit import fit
from moelaws.fitting.intervals.uncertainty import bootstrap
from moelaws.fitting.report.fit_file import load_fit
from moelaws.laws import law
from moelaws.serving.forecasters import read_fit
from repository import ROOT

SCHEMA = json.loads((ROOT / "data" / "fit.schema.json").read_text())


@pytest.fixture
def table(tmp_path):
    """Forty MoE runs with router and budget columns, written as a reader's CSV."""
    rng = np.random.default_rng(0)
    n = 40
    runs = pd.DataFrame(
        {
            "active_params": np.exp(rng.uniform(np.log(3e7), np.log(3e9), n)),
            "n_experts": rng.choice([1, 2, 8, 32, 128, 512], n),
            "top_k": 1,
            "router": np.where(np.arange(n) % 4 == 0, "Hash", "S-BASE"),
        }
    )
    clark = law("clark2022")
    runs["loss"] = clark.predict(clark.published["s-base"], runs) * np.exp(0.002 * rng.normal(size=n))
    path = tmp_path / "runs.csv"
    runs.to_csv(path, index=False)
    return path


def edit(path, change):
    runs = change(pd.read_csv(path))
    runs.to_csv(path, index=False)
    return path


def check(record):
    """The record against the schema: keys, and the types of the plain fields."""
    assert set(SCHEMA["required"]) <= set(record) <= set(SCHEMA["properties"])
    kinds = {"string": str, "integer": int, "number": (int, float), "object": dict, "array": list, "null": type(None)}
    for name, value in record.items():
        wanted = SCHEMA["properties"][name].get("type")
        if wanted is not None:
            assert isinstance(value, tuple(kinds[k] for k in ([wanted] if isinstance(wanted, str) else wanted))), name
    assert record["status"] in SCHEMA["properties"]["status"]["enum"]
    assert record["objective"] in SCHEMA["properties"]["objective"]["enum"]


def test_fit_writes_what_the_schema_promises(table, tmp_path, capsys):
    out = tmp_path / "out.json"
    arguments = ["fit", str(table), "--law", "clark2022", "--objective", "lsq-log", "--bootstrap", "40", "--seed", "3",
                 "--where", "router != 'Hash'", "--holdout", "sparsity > 0.99", "--json", str(out)]  # fmt: skip
    assert main(arguments) == 0
    record = json.loads(out.read_text())
    check(record)
    runs = pd.read_csv(table)
    kept = runs[runs["router"] != "Hash"]
    held_out = kept[(kept["n_experts"] - 1) / kept["n_experts"] > 0.99]
    assert record["n_runs"] == len(kept) - len(held_out)
    assert record["holdout"]["n"] == len(held_out)
    assert list(record["params"]) == ["a", "b", "c", "d", "E_start", "E_max"]
    fitted = kept.drop(held_out.index)
    predicted = law("clark2022").predict(record["params"], fitted)
    assert record["objective_value"] == pytest.approx(float((np.log(predicted / fitted["loss"]) ** 2).sum()), rel=1e-8)
    assert record["rmse_log"] == pytest.approx(np.sqrt(record["objective_value"] / record["n_runs"]), rel=1e-8)
    assert set(record["intervals"]) == set(record["params"]) == set(record["identified"])
    assert record["interval_method"].startswith("likelihood, 95 %, t with 16 degrees of freedom")
    assert record["interval_method"].endswith(", as bootstrap refits leave E_max open")
    assert record["delta"] is None
    assert record["columns"] == {"N": "active_params", "E": "n_experts"}
    shown = capsys.readouterr().out
    assert "rmse of ln L" in shown
    assert "holdout: n" in shown


def test_refits_are_written_and_read_as_a_band(table, tmp_path):
    out = tmp_path / "out.json"
    arguments = ["fit", str(table), "--law", "clark2022", "--fix", "d=1.104,E_max=314.478", "--objective", "lsq-log"]
    assert main([*arguments, "--bootstrap", "230", "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    check(record)
    forecaster = read_fit(out)
    assert set(forecaster.replicates) == set(record["params"])
    assert {len(values) for values in forecaster.replicates.values()} == {200}
    assert set(record["replicates"]["d"]) == {1.104}
    # Rounded refits must still be the refits: each predicts the runs as its whole digits would, and their band is as
    # wide as that of the fit itself.
    runs = pd.read_csv(table)
    result = fit("clark2022", runs, "lsq-log", fixed={"d": 1.104, "E_max": 314.478})
    refits = bootstrap(result, 230)
    whole = law("clark2022").predict({name: v[:200, None] for name, v in refits.params.items()}, runs)
    written = law("clark2022").predict({n: np.array(v)[:, None] for n, v in forecaster.replicates.items()}, runs)
    np.testing.assert_allclose(written, whole, rtol=2e-5)
    assert (np.ptp(written, axis=0) > 1e-3).all()


def test_ranges_say_where_the_runs_were(table, tmp_path):
    out = tmp_path / "out.json"
    edit(table, lambda runs: runs.assign(train_flops=np.geomspace(1e18, 1e20, len(runs))))
    assert main(["fit", str(table), "--law", "bilinear", "--where", "n_experts < 100", "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    kept = pd.read_csv(table).query("n_experts < 100")
    assert set(record["ranges"]) == {"active_params", "n_experts", "train_flops"}
    assert record["ranges"]["n_experts"] == [kept["n_experts"].min(), 32]
    assert record["ranges"]["train_flops"] == [kept["train_flops"].min(), kept["train_flops"].max()]
    assert "replicates" not in record


def test_same_seed_same_file_but_for_the_clock(table, tmp_path):
    records = []
    for name in ("first.json", "second.json"):
        assert main(["fit", str(table), "--law", "bilinear", "--bootstrap", "20", "--json", str(tmp_path / name)]) == 0
        records.append(json.loads((tmp_path / name).read_text()) | {"seconds": 0})
    assert records[0] == records[1]


def test_columns_are_renamed_and_derived(table, tmp_path):
    runs = pd.read_csv(table).rename(columns={"loss": "val_loss", "n_experts": "E"}).drop(columns="top_k")
    runs["S"] = (runs["E"] - 1) / runs["E"]
    runs["tokens"] = 1e10 * (1 + np.arange(len(runs)))
    runs["C"] = 6 * runs.pop("active_params") * runs["tokens"]
    path = tmp_path / "theirs.csv"
    runs.to_csv(path, index=False)
    out = tmp_path / "out.json"
    names = "loss=val_loss,n_experts=E,sparsity=S,train_flops=C"
    assert main(["fit", str(path), "--law", "bilinear", "--map", names, "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    check(record)
    assert record["derived"] == {"active_params": "C / (6 D)"}


def test_parquet_and_a_formula_of_ones_own(table, tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "runs.parquet"
    pd.read_csv(table).to_parquet(path)
    out = tmp_path / "out.json"
    arguments = ["fit", str(path), "--formula", "E0 + A/N^alpha", "--variables", "N=active_params", "--json", str(out)]
    assert main(arguments) == 0
    assert list(json.loads(out.read_text())["params"]) == ["E0", "A", "alpha"]


def test_fixed_parameters_and_bounds(table, tmp_path):
    out = tmp_path / "out.json"
    arguments = ["fit", str(table), "--law", "bilinear", "--fix", "a=-0.08", "--bound", "c=-0.001:0.001", "--json"]
    assert main([*arguments, str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["params"]["a"] == -0.08
    assert record["fixed"] == ["a"]
    assert abs(record["params"]["c"]) <= 0.001 * (1 + 1e-9)
    assert record["status"] == "bound hit"


def test_a_weight_column_counts(table, tmp_path):
    edit(table, lambda runs: runs.assign(w=np.where(runs["router"] == "Hash", 0.0, 1.0)))
    values = []
    for extra in (["--weights", "w"], ["--where", "router != 'Hash'"]):
        out = tmp_path / "out.json"
        assert main(["fit", str(table), "--law", "separable", "--json", str(out), *extra]) == 0
        values.append(json.loads(out.read_text())["objective_value"])
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def put(column, row, value):
    return lambda runs: runs.astype({column: object}).assign(
        **{column: lambda r: r[column].where(r.index != row, value)}
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("loss", 4, np.nan), "row 6, column 'loss': found nothing, expected a finite number > 0"),
        (put("loss", 4, "nan"), "row 6, column 'loss'"),
        (put("loss", 0, -3.1), "row 2, column 'loss': found '-3.1'"),
        (put("active_params", 7, 0), "row 9, column 'active_params': found '0'"),
        (put("n_experts", 1, "many"), "row 3, column 'n_experts': found 'many'"),
        (put("loss", 2, "inf"), "row 4, column 'loss': found 'inf'"),
        (lambda runs: pd.concat([runs, runs.iloc[[5]]]), "row 42 repeats row 7 in every column"),
        (lambda runs: runs.head(5), "5 runs for 6 free parameters"),
        (lambda runs: runs.assign(n_experts=8), "column 'n_experts' is 8 in all 40 rows"),
        (lambda runs: runs.drop(columns="active_params"), "needs a column 'dense_params' or 'active_params'"),
        (lambda runs: runs.drop(columns="loss"), "no column 'loss'"),
        (lambda runs: runs.head(0), "the table has a header but no rows"),
    ],
)
def test_bad_tables_are_refused_in_one_sentence(table, tmp_path, capsys, change, message):
    out = tmp_path / "out.json"
    assert main(["fit", str(edit(table, change)), "--law", "clark2022", "--json", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "runs.csv" in error
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert not out.exists()
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--law", "clark"], "no law 'clark'; there are abnar2025"),
        ([], "give --law NAME or --formula TEXT"),
        (["--formula", "__import__('os').system('x')", "--variables", "N=tokens"], "has no meaning here"),
        (["--formula", "A/N^a"], "--formula needs --variables"),
        (["--law", "clark2022", "--objective", "mae"], "objective 'mae': expected one of"),
        (["--law", "clark2022", "--where", "loss > 99"], "no row meets it"),
        (["--law", "clark2022", "--holdout", "loss > 99"], "no finished run meets it"),
        (["--law", "clark2022", "--holdout", "loss > 0"], "none is left to fit"),
        (["--law", "clark2022", "--where", "__import__('os')"], "condition"),
        (["--law", "clark2022", "--where", "nope == 1"], "nope"),
        (["--law", "clark2022", "--fix", "a=x"], "--fix: expected a number, found 'x'"),
        (["--law", "clark2022", "--fix", "a=nan"], "--fix: expected a number, found 'nan'"),
        (["--law", "clark2022", "--bound", "a=-inf:inf"], "--bound: expected a number, found '-inf'"),
        (["--law", "clark2022", "--bound", "a=1:1e200"], "neither beyond 1e+100"),
        (["--law", "clark2022", "--bound", "a=1"], "expected LOW:HIGH"),
        (["--law", "clark2022", "--map", "loss=nothing"], "no column 'nothing' to use as 'loss'"),
        (["--law", "clark2022", "--cluster", "config", "--bootstrap", "5"], "--cluster: no column 'config'"),
        (["--law", "abnar2025"], "needs a column 'total_params'"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(table, tmp_path, capsys, arguments, message):
    out = tmp_path / "out.json"
    assert main(["fit", str(table), *arguments, "--json", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_the_family_is_written_with_the_fit(table, tmp_path):
    out = tmp_path / "out.json"
    assert main(["fit", str(table), "--law", "bilinear", "--family", "switch", "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    check(record)
    assert record["family"] == {"name": "switch", "vocab_size": 50257, "aspect": 64.0}
    assert read_fit(out).family.settings == {"vocab_size": 50257, "aspect": 64.0}
    assert load_fit(out).status == record["status"]


def test_no_such_file_and_no_such_folder(table, tmp_path, capsys):
    assert main(["fit", str(tmp_path / "none.csv"), "--law", "clark2022"]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["fit", str(table), "--law", "separable", "--json", str(tmp_path / "no" / "out.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_list_of_laws(capsys):
    assert main(["fit", "--laws"]) == 0
    shown = capsys.readouterr().out
    assert "ludziejewski2025" in shown
    assert "arXiv 2501.12370" in shown


def test_a_fit_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; import moelaws.fitting.selection, moelaws.fitting.intervals.profile; "
    )
    code += "assert 'scipy' not in sys.modules; import moelaws.cli.fit"
    subprocess.run([sys.executable, "-c", code], check=True)
