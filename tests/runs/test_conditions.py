"""Conditions on rows: which rows they mean, in cells of a file as in numbers, and that none is ever run."""

import re
import time

import numpy as np
import pandas as pd
import pytest

from moelaws.runs import ConditionError
from moelaws.runs.reading.where import rows_where

CELLS = pd.DataFrame(
    {
        "loss": ["3", "2.5", None],
        "val/loss": ["1", "2", "3"],
        "Model Size (M)": ["10", "20", "30"],
        "lr=0.1, wd": ["1", "2", "3"],
        "top-k": ["1", "1", "2"],
        "train.loss": ["1", "2", "3"],
        "lambda": ["1", "2", "3"],
        "µ": ["1", "2", "3"],
        "損失": ["1", "2", "3"],
        "it`s": ["1", "2", "3"],
        "moe": ["TRUE", "false", "1"],
        "name": ["a", "b", None],
        "run": ["001", "2", "3"],
    },
    dtype=object,
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("val/loss < 2", [1, 0, 0]),
        ("`val/loss` < 2", [1, 0, 0]),
        ("Model Size (M) > 10 and val/loss<3", [0, 1, 0]),
        ("lr=0.1, wd == 2", [0, 1, 0]),
        ("`lr=0.1, wd` == 2", [0, 1, 0]),
        ("top-k == 2", [0, 0, 1]),
        ("train.loss >= 2", [0, 1, 1]),
        ("lambda > 1", [0, 1, 1]),
        ("µ > 1", [0, 1, 1]),
        ("損失 * 2 == 4", [0, 1, 0]),
        ("`it``s` == 3", [0, 0, 1]),
        ("moe == True", [1, 0, 1]),
        ("moe != True", [0, 1, 0]),
        ("loss > 2", [1, 1, 0]),
        ("loss == loss", [1, 1, 0]),
        ("not loss > 2.7", [0, 1, 1]),
        ("name != 'a'", [0, 1, 1]),
        ("name in ['a', 'x'] or val/loss in (3, 4)", [1, 0, 1]),
        ("val/loss not in [1]", [0, 1, 1]),
        ("run == '001'", [1, 0, 0]),
        ("run == 1", [1, 0, 0]),
        ("1 < val/loss <= 3", [0, 1, 1]),
        ("-val/loss < -1", [0, 1, 1]),
        ("1 / 0 > val/loss", [1, 1, 1]),
        ("status == 'finished'", [1, 1, 1]),
        ("name == 'a' # the first", [1, 0, 0]),
        ("\n loss > 2\n and\tname == 'b'", [0, 1, 0]),
        ("True", [1, 1, 1]),
        (" or ".join(["run == 2"] * 150), [0, 1, 0]),
    ],
)
def test_names_of_all_kinds_reach_a_condition(condition: str, expected: list[int]) -> None:
    assert rows_where(CELLS, condition).astype(int).tolist() == expected


def test_numbers_and_cells_meet_the_same_conditions() -> None:
    numbers = CELLS.assign(
        **{name: pd.to_numeric(CELLS[name]) for name in ("loss", "val/loss", "top-k", "run")}, moe=[True, False, True]
    )
    for condition in ("loss > 2", "val/loss != 2", "moe == True", "run == '2'", "name == 'b'", "top-k in [1]"):
        assert rows_where(numbers, condition).tolist() == rows_where(CELLS, condition).tolist(), condition


def test_other_names_and_derived_columns_can_be_asked() -> None:
    runs = pd.DataFrame({"loss": ["3", "4"], "n_experts": ["8", "2"], "top_k": ["2", "1"]}, dtype=object)
    assert rows_where(runs, "val/loss > 3", {"val/loss": "loss"}).tolist() == [False, True]
    assert rows_where(runs, "sparsity > 0.6").tolist() == [True, False]
    assert rows_where(runs.drop(columns="n_experts").assign(total_params="1e8"), "loss > 3").tolist() == [False, True]
    dense = pd.DataFrame({"total_params": ["1e8"], "tokens": ["1e9"]}, dtype=object)
    assert rows_where(dense, "sparsity == 0 and n_experts == 1 and train_flops > 1e17").tolist() == [True]


def test_a_name_with_two_readings_wants_backticks() -> None:
    runs = pd.DataFrame({"a/b": ["1", "9"], "a": ["4", "1"], "b": ["2", "1"]}, dtype=object)
    with pytest.raises(ConditionError, match="'a/b' is a column, and its parts are columns too"):
        rows_where(runs, "a/b < 2")
    assert rows_where(runs, "`a/b` < 2").tolist() == [True, False]
    assert rows_where(runs, "a / b < 2").tolist() == [False, True]


HOSTILE = {
    "'x' * 10**9 == name": "compares text with a number",
    "'x' * 1000000000 == name": "compares text with a number",
    "[1] * 1000000000 == name": "counts with what is no number",
    "9**9**9 == loss": "is not allowed",
    "loss > " + "9" * 1900: "is not allowed",
    "loss > " + "9" * 100_000: "expected at most 2,000",
    "(" * 1900: "not readable",
    "(" * 300 + "loss" + ")" * 300 + " > 1": "not readable",
    "not " * 400 + "loss > 1": "nested too deeply",
    "-" * 1900 + "loss > 1": "nested too deeply",
    "loss" + "+loss" * 300 + " > 1": "nested too deeply",
    "[" * 190 + "]" * 190 + " == loss": "nested too deeply",
    "1 is 1": "'is' is not allowed",
    "().__class__.__bases__[0].__subclasses__() == loss": "is not allowed",
    "open('/etc/passwd').read() == name": "is not allowed",
    "f'{loss}' == name": "is not allowed",
    "(x := 1) == loss": "is not allowed",
    "[x for x in name] == loss": "is not allowed",
    "lambda: 1": "not",
    "loss = 3": "write == to compare",
    "loss => 3": "not readable",
    "loss > 1; import os": "not readable",
    "loss > '": "not readable",
    "`loss > 1": "not readable",
    "": "not readable",
    "loss": "gives no yes or no",
    "loss and name": "gives no yes or no",
    "name > 1": "row 0",
    "loss == [3]": "a list stands only behind 'in'",
    "loss in 3": "write COLUMN in [value, value]",
    "\x1b[31m > 1": "not readable",
    "\0": "not readable",
    "x" * 1900 + " > 1": "has no column",
    "__column_0__ > 1": "not readable",
}


@pytest.mark.parametrize("condition", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_condition_is_one_sentence_at_once(condition: str) -> None:
    began = time.process_time()
    with pytest.raises(ConditionError) as refused:
        rows_where(CELLS, condition)
    assert time.process_time() - began < 1
    said = str(refused.value)
    assert re.search(re.escape(HOSTILE[condition]), said)
    assert said.isprintable()
    assert len(said) < 390


def test_a_condition_on_twenty_thousand_columns_takes_no_time() -> None:
    wide = pd.DataFrame(np.ones((3, 20_000)), columns=[f"val/c{i}" for i in range(20_000)])
    began = time.process_time()
    assert rows_where(wide, "val/c19999 == 1 and `val/c7` < 2").all()
    with pytest.raises(ConditionError, match="has no column 'val'"):
        rows_where(wide, "val / c1 > 0")
    assert time.process_time() - began < 2
