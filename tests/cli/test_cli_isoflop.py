"""``moelaws isoflop``: what it prints, what it writes, and that bad input leaves nothing behind."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from moelaws.cli import main


@pytest.fixture
def table(tmp_path):
    """Two budgets; at the larger one the best active size is twice that of the smaller."""
    rng = np.random.default_rng(0)
    rows = []
    for budget, best in ((3e11, 60_000), (3e12, 120_000)):
        for experts in (1, 4, 16):
            for active in best * np.geomspace(0.3, 3, 6):
                s_hat = np.log(experts)
                loss = 4 + 0.2 * (np.log(active / best) + 0.1 * s_hat) ** 2 - 0.05 * s_hat + 0.002 * rng.normal()
                rows.append(
                    {
                        "val_loss": round(loss, 4),
                        "n_experts": experts,
                        "top_k": 1,
                        "active_params": round(active),
                        "total_params": round(active * (1 + experts) / 2),
                        "budget": budget,
                        "status": "finished",
                        "corpus": "a" if active < best else "b",
                    }
                )
    rows.append(rows[0] | {"val_loss": "", "status": "diverged", "corpus": "c"})
    path = tmp_path / "runs.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_designs_are_parted_by_columns_in_the_files_own_words(table, tmp_path, capsys):
    out = tmp_path / "fit.json"
    runs = pd.read_csv(table)
    fine = runs[runs["n_experts"] > 1].assign(n_experts=lambda t: 2 * t["n_experts"], top_k=2)
    pd.concat([runs, fine]).rename(columns={"top_k": "k"}).to_csv(table, index=False)
    usual = ["isoflop", str(table), "--map", "loss=val_loss,top_k=k", "--variable", "active_params", "--bootstrap", "0"]
    assert main([*usual, "--by", "k", "--json", str(out)]) == 0
    assert "C = 3e+11 FLOPs, top_k = 2: 18 runs" in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert [(b["budget"], b["design"]["top_k"]) for b in written["budgets"]] == [
        (3e11, 1), (3e11, 2), (3e12, 1), (3e12, 2),
    ]  # fmt: skip
    assert main(usual) == 0
    assert "differ in top_k: one surface holds them all, and top_k can part them (--by)" in capsys.readouterr().out
    assert main([*usual, "--by", "nothing"]) == 2
    assert "no column 'nothing' to part them by" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*usual, "--by", "k,k"])
    assert "expected names of columns, each once, such as top_k, found 'k,k'" in capsys.readouterr().err


def test_prints_a_table_per_budget_and_writes_json(table, tmp_path, capsys):
    out = tmp_path / "fit.json"
    arguments = ["--map", "loss=val_loss", "--variable", "active_params", "--degree", "2,2,2", "--sizes", "5e4"]
    assert main(["isoflop", str(table), *arguments, "--bootstrap", "200", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "sparsity: not in the file, derived as (E - K) / E" in printed
    assert "1 run did not finish, left out" in printed
    assert "C = 3e+11 FLOPs: 18 runs, degree (2, 2, 2)" in printed
    assert "C = 3e+12 FLOPs: 18 runs" in printed
    assert "best S at active_params = 5e+04: 0.9375" in printed
    written = json.loads(out.read_text())
    assert [b["budget"] for b in written["budgets"]] == [3e11, 3e12]
    assert written["derived"] == {"sparsity": "(E - K) / E"}
    for budget, best in zip(written["budgets"], (60_000, 120_000), strict=True):
        assert set(budget["coefficients"]) == {"a1", "a2", "b1", "b2", "c1", "c2", "d"}
        assert [row["sparsity"] for row in budget["optima"]] == [0, 0.75, 0.9375]
        for row, experts in zip(budget["optima"], (1, 4, 16), strict=True):
            truth = best * np.exp(-0.1 * np.log(experts))
            assert row["bracketed"]
            assert row["n_low"] * 0.97 < truth < row["n_high"] * 1.03
            assert row["total_params"] == pytest.approx(row["active_params"] * (1 + experts) / 2, rel=1e-3)
    assert not list(tmp_path.glob(".fit*"))


def test_degree_is_chosen_where_none_is_given(table, capsys):
    assert main(["isoflop", str(table), "--map", "loss=val_loss", "--budget", "3.01e11"]) == 0
    printed = capsys.readouterr().out
    assert "degrees" not in printed
    assert "by leave-one-point-out" in printed
    assert "3e+12" not in printed


def test_names_that_people_give_are_known_without_a_map(table, capsys):
    arguments = ["--where", "corpus == 'a'", "--degree", "2,1,0", "--bootstrap", "0"]
    assert main(["isoflop", str(table), *arguments]) == 0
    assert "loss = val_loss" in capsys.readouterr().out


def test_an_unbracketed_optimum_is_said_to_be_one(table, capsys):
    arguments = ["--map", "loss=val_loss", "--where", "corpus == 'a'", "--degree", "2,1,0", "--bootstrap", "0"]
    assert main(["isoflop", str(table), *arguments]) == 0
    assert "not bracketed: the largest size tried is best" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--map", "loss=train_loss"], "no column 'train_loss'"),
        (["--map", "loss=val_loss", "--budget", "1e15"], "no runs of budget 1e+15; the table has 3e+11, 3e+12 FLOPs"),
        (["--map", "loss=val_loss", "--variable", "size"], "the runs have no column 'size'"),
        (
            ["--map", "loss=val_loss", "--where", "n_experts == 1", "--degree", "2,2,2"],
            "budget 3e+11: degree (2, 2, 2)",
        ),
        (["--map", "loss=val_loss", "--where", "n_experts == 7"], "no finished run among the 0 rows kept"),
        (["--map", "loss=val_loss", "--sizes", "1e12"], "fewer than two sparsities"),
    ],
)
def test_bad_input_ends_with_a_sentence_and_writes_nothing(table, tmp_path, capsys, arguments, message):
    out = tmp_path / "fit.json"
    assert main(["isoflop", str(table), *arguments, "--json", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_json_into_a_missing_folder_is_refused(table, tmp_path, capsys):
    arguments = ["--map", "loss=val_loss", "--degree", "2,1,1", "--bootstrap", "0"]
    assert main(["isoflop", str(table), *arguments, "--json", str(tmp_path / "no" / "fit.json")]) == 2
    assert "cannot be written (No such file or directory)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--degree", "2,2"], ["--degree", "5,0,0"], ["--bootstrap", "-1"], ["--budget", "0"]]
)
def test_options_out_of_range_are_refused(table, arguments, capsys):
    with pytest.raises(SystemExit) as refused:
        main(["isoflop", str(table), *arguments])
    assert refused.value.code == 2
    assert "expected" in capsys.readouterr().err


def test_works_with_torch_absent(table):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from moelaws.cli import main\n"
        f"sys.exit(main(['isoflop', {str(table)!r}, '--map', 'loss=val_loss', '--degree', '2,2,2']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "C = 3e+12" in done.stdout
