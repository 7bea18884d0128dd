"""Which column is which by the words of its name, and what is no such column."""

from pathlib import Path

import pandas as pd
import pytest

import moelaws
from importing.column_names import NAMES, OTHERS
from moelaws import RunTableError, import_runs
from moelaws.importing.matching import Matched, matched
from moelaws.importing.preset import presets, wordings
from moelaws.importing.wording import words
from moelaws.runs import COLUMNS, RunTableWarning


def _match(**columns: list[object]) -> Matched:
    return matched(
        pd.DataFrame({name: [str(cell) for cell in cells] for name, cells in columns.items()}), presets()["auto"]
    )


def test_a_column_of_the_books_has_words() -> None:
    assert set(wordings()) <= {*COLUMNS, "perplexity"}
    assert words("numMoEExperts_perToken2") == ("num", "moe", "experts", "per", "token2")


@pytest.mark.parametrize(("ours", "name"), [(ours, name) for ours, line in NAMES.items() for name in line.split("|")])
def test_a_name_is_known_by_its_words(ours: str, name: str) -> None:
    assert set(_match(**{"other": [1, 2], name: [1.5, 2.5]}).rename) == {ours}


@pytest.mark.parametrize("name", OTHERS.split("|"))
def test_what_only_sounds_so_is_left_alone(name: str) -> None:
    assert not _match(**{name: [1, 2]}).rename


def test_units_are_factors() -> None:
    found = _match(**{"model/active_params_M": [20, 50], "tokens_e9": [8, 9], "compute (PF-days)": [1, 2]}).rename
    assert found == {
        "active_params": "model/active_params_M * 1e+06",
        "tokens": "tokens_e9 * 1e+09",
        "train_flops": "compute (PF-days) * 8.64e+19",
    }


def test_the_reader_is_asked_which_of_several(tmp_path: Path) -> None:
    found = _match(c4_val_loss=[3.1, 3], pile_val_loss=[3, 2.9], train_loss=[2, 2])
    assert "loss" not in found.rename
    assert found.asked == ("loss could be 'c4_val_loss', 'pile_val_loss': --map \"loss=...\" says which",)
    assert _match(c4_val_loss=[3, 2], pile_val_loss=[3, 2]).rename == {"loss": "c4_val_loss"}  # the same numbers
    assert _match(c4_val_loss=[3, 2], val_loss=[3, 1]).rename == {"loss": "val_loss"}
    path = tmp_path / "two.csv"
    path.write_text("c4_val_loss,pile_val_loss,N,D\n3,2,1e8,1e9\n")
    with pytest.raises(RunTableError, match=r"no column 'loss'.*loss could be 'c4_val_loss', 'pile_val_loss'"):
        import_runs(path)
    with pytest.raises(RunTableError, match="loss could be 'c4_val_loss', 'pile_val_loss'"):
        moelaws.read_runs(path)
    with pytest.warns(RunTableWarning, match="preset auto: total_params = N, tokens = D"):
        assert moelaws.read_runs(path, {"loss": "pile_val_loss"})["loss"].tolist() == [2]


def test_n_active_is_a_number_of_experts_where_it_is_small() -> None:
    sizes = _match(N_experts=[8, 16], N_active=[10**7, 2 * 10**7]).rename
    assert sizes == {"active_params": "N_active", "n_experts": "N_experts"}
    assert _match(N_experts=[8, 16], N_active=[1, 2]).rename == {"top_k": "N_active", "n_experts": "N_experts"}


def test_a_perplexity_is_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "ppl.csv"
    path.write_text("val_ppl,N,D\n20,1e8,1e9\n2,2e8,2e9\n")
    found = import_runs(path)
    assert found.runs["loss"].tolist() == pytest.approx([2.995732273553991, 0.6931471805599453])
    assert "loss = ln(val_ppl)" in found.notes[0]
    path.write_text("val_ppl,N,D\n20,1e8,1e9\n.5,2e8,2e9\n")
    with pytest.raises(RunTableError, match=r"row 3, column 'loss'.*'ln\(.5\)'"):
        import_runs(path)


def test_a_size_in_the_file_is_not_derived_from_compute(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("eval/loss,model/total_params_M,tokens (B),flops\n3.1,33,8,2e18\n3.0,50,9,3e18\n")
    assert moelaws.import_runs(path).runs["total_params"].tolist() == [33e6, 50e6]
