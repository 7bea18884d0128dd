"""Columns that others determine: filled in where missing, and named, so that no number appears unannounced."""

import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd

from moelaws.runs.budgets import ScatteredFlops, named_budgets
from moelaws.runs.numbers import as_numbers

_Rule = tuple[str, tuple[str, ...], str, Callable[[Mapping[str, np.ndarray]], np.ndarray]]

_RULES: tuple[_Rule, ...] = (
    ("sparsity", ("n_experts", "top_k"), "(E - K) / E", lambda r: (r["n_experts"] - r["top_k"]) / r["n_experts"]),
    ("top_k", ("n_experts", "sparsity"), "E (1 - S)", lambda r: r["n_experts"] * (1 - r["sparsity"])),
    ("n_experts", ("top_k", "sparsity"), "K / (1 - S)", lambda r: r["top_k"] / (1 - r["sparsity"])),
    ("sparsity", ("activation_ratio",), "1 - A", lambda r: 1 - r["activation_ratio"]),
    ("tokens", ("train_flops", "active_params"), "C / (6 N_a)", lambda r: r["train_flops"] / (6 * r["active_params"])),
    ("train_flops", ("tokens", "active_params"), "6 N_a D", lambda r: 6 * r["active_params"] * r["tokens"]),
    ("active_params", ("train_flops", "tokens"), "C / (6 D)", lambda r: r["train_flops"] / (6 * r["tokens"])),
)
_DENSE: tuple[_Rule, ...] = (
    ("active_params", ("total_params",), "N, dense", lambda r: r["total_params"]),
    ("total_params", ("active_params",), "N_a, dense", lambda r: r["active_params"]),
)
_ON_REQUEST: tuple[_Rule, ...] = (("activation_ratio", ("sparsity",), "1 - S", lambda r: 1 - r["sparsity"]),)
"""Derived only for those who name them."""

_OF_EXPERTS = ("n_experts", "top_k", "sparsity", "activation_ratio", "granularity", "shared_experts", "moe_every")
SPEAKS_OF_EXPERTS = re.compile(r"expert|moe|rout|top.?k|spars|granular", re.IGNORECASE)
_NO_EXPERTS = {"sparsity": (0.0, "0, dense"), "n_experts": (1.0, "1, dense"), "top_k": (1.0, "1, dense")}
BUDGET = "budget"
_SIZES = ("total_params", "active_params")
_USED = {*_OF_EXPERTS, *(name for rule in (*_RULES, *_DENSE, *_ON_REQUEST) for name in (rule[0], *rule[1]))}


def derive(runs: pd.DataFrame, wanted: Iterable[str] | None = None) -> tuple[pd.DataFrame, dict[str, str]]:
    """Add the columns that the present ones determine. A column that is there, and holds something, is never touched.

    A table of which no column speaks of experts holds dense models: S = 0, E = K = 1, and N_a = N. Budgets, for those
    who ask for them, are groups of training FLOPs that gaps part.

    Args:
        runs: a run table.
        wanted: the columns to add, where they can be, with those they follow from; ``None`` adds all.

    Returns:
        The table with the derived columns, and for each of them the formula that gave it.

    Examples:
        >>> runs, how = derive(pd.DataFrame({"n_experts": [8], "top_k": [2], "loss": [3.2]}))
        >>> float(runs["sparsity"].iloc[0]), how["sparsity"]
        (0.75, '(E - K) / E')
    """
    known, formulas, sources = _derived(runs)
    wanted = None if wanted is None else set(wanted)
    if wanted and BUDGET in wanted and (budgets := _budgets(runs, known)) is not None:
        known[BUDGET], formulas[BUDGET], sources[BUDGET] = budgets, "runs of about equal C", ("train_flops",)
    asked = set(formulas) - {rule[0] for rule in _ON_REQUEST} if wanted is None else wanted
    for name in reversed(formulas):  # what a column follows from was derived before it
        asked |= set(sources[name]) if name in asked else set()
    derived = {name: formula for name, formula in formulas.items() if name in asked}
    return runs.assign(**{name: known[name] for name in derived}) if derived else runs, derived


def derivable(runs: pd.DataFrame, name: str) -> np.ndarray | None:
    """One column that others determine, [rows]; ``None`` if they do not.

    Args:
        runs: a table, of numbers or of the cells of a file.
        name: a column that it does not have.
    """
    if name not in _USED and name != BUDGET:
        return None
    known, formulas, _ = _derived(runs)
    if name == BUDGET:
        return _budgets(runs, known)
    return known[name] if name in formulas else None


def dense(runs: pd.DataFrame) -> bool:
    """Whether a table holds dense models only: its columns of experts say so, or it has no such column."""
    there = _known(runs, _OF_EXPERTS)
    for name, none_of in (("n_experts", 1.0), ("sparsity", 0.0)):
        if name in there:
            return bool(np.all((there[name] == none_of) | np.isnan(there[name])))
    if there or any(SPEAKS_OF_EXPERTS.search(str(name)) for name in runs.columns if name not in _OF_EXPERTS):
        return False
    sizes = _known(runs, _SIZES)
    if len(sizes) < len(_SIZES):
        return bool(sizes)
    total, active = (sizes[name] for name in _SIZES)
    return bool(np.all((np.abs(active / total - 1) < 0.01) | np.isnan(active / total)))


def _derived(runs: pd.DataFrame) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, tuple[str, ...]]]:
    """All values, and of what was derived the formulas and the columns these use, in the order of derivation."""
    known = _known(runs, _USED)
    formulas: dict[str, str] = {}
    used: dict[str, tuple[str, ...]] = {}
    rules = _RULES
    with np.errstate(all="ignore"):
        if dense(runs):
            rules = (*_DENSE, *_RULES)
            if not any(name in known for name in _OF_EXPERTS):
                for name, (value, formula) in _NO_EXPERTS.items():
                    known[name], formulas[name], used[name] = np.full(len(runs), value), formula, ()
        for name, sources, formula, rule in (*rules, *_ON_REQUEST):
            if name not in known and all(source in known for source in sources):
                known[name], formulas[name], used[name] = rule(known), formula, sources
    return known, formulas, used


def _budgets(runs: pd.DataFrame, known: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Budgets of a table that names none, [rows]; ``None`` where its FLOPs are not known, or too scattered."""
    if _known(runs, (BUDGET,)) or "train_flops" not in known:
        return None
    try:
        return named_budgets(known["train_flops"], next((known[name] for name in _SIZES if name in known), None))
    except ScatteredFlops:
        return None


def _known(runs: pd.DataFrame, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The columns that hold numbers; one of nothing but empty cells says nothing."""
    there = {name: as_numbers(runs[name].to_numpy()) for name in names if name in runs.columns}
    return {name: values for name, values in there.items() if not len(values) or not np.isnan(values).all()}
