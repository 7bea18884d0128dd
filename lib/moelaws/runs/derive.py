"""Columns that others determine: filled in where missing, and named, so that no number appears unannounced."""

from collections.abc import Callable

import pandas as pd

_RULES: tuple[tuple[str, tuple[str, ...], str, Callable[[pd.DataFrame], pd.Series]], ...] = (
    (
        "sparsity",
        ("n_experts", "top_k"),
        "(E - K) / E",
        lambda r: (r["n_experts"] - r["top_k"]) / r["n_experts"],
    ),
    ("top_k", ("n_experts", "sparsity"), "E (1 - S)", lambda r: r["n_experts"] * (1 - r["sparsity"])),
    ("n_experts", ("top_k", "sparsity"), "K / (1 - S)", lambda r: r["top_k"] / (1 - r["sparsity"])),
    (
        "tokens",
        ("train_flops", "active_params"),
        "C / (6 N_a)",
        lambda r: r["train_flops"] / (6 * r["active_params"]),
    ),
    ("train_flops", ("tokens", "active_params"), "6 N_a D", lambda r: 6 * r["active_params"] * r["tokens"]),
    ("active_params", ("train_flops", "tokens"), "C / (6 D)", lambda r: r["train_flops"] / (6 * r["tokens"])),
)


def derive(runs: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Add the columns that the present ones determine.

    Args:
        runs: a run table.

    Returns:
        The table with the derived columns, and for each of them the formula that gave it.
    """
    derived: dict[str, str] = {}
    for name, sources, formula, rule in _RULES:
        if name not in runs.columns and all(source in runs.columns for source in sources):
            runs = runs.assign(**{name: rule(runs)})
            derived[name] = formula
    return runs, derived
