"""What a table says twice: training FLOPs beside sizes and tokens, sparsity beside experts, N beside N_a."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from moelaws.quote import shown
from moelaws.runs.derive import dense
from moelaws.runs.error import RunTableError
from moelaws.runs.numbers import as_numbers

TOLERANCE = 0.03
"""Relative gaps up to this are nobody's error: rounding, embeddings counted or not."""

# No model has fewer parameters, no run fewer tokens, and nobody trains on so many or few tokens a parameter.
FEWEST_PARAMETERS = 1000
FEWEST_TOKENS = 1000
TOKENS_PER_PARAMETER = (1e-3, 1e6)
# Guessing among a million token ids has this loss, in nats: no vocabulary has more.
GUESSING = float(np.log(1e6))
# How FLOPs are counted changes them several times over, a wrong unit by a thousand and more.
FLOPS_FACTOR = 300

_PARAMETERS = ("total_params", "active_params", "non_embedding_params")


def disagreements(runs: pd.DataFrame) -> list[str]:
    """Gaps of more than a few per cent between what a file says of the same thing, a sentence each.

    Args:
        runs: finished runs, with the columns of the file only.

    Returns:
        The sentences; none where everything agrees or there is nothing to compare.
    """
    known = _known(runs)
    said = [_guessing(runs)]
    with np.errstate(all="ignore"):
        active = _active(runs, known)
        counted = set(runs["flops_convention"].unique()) if "flops_convention" in runs else set()
        if {"train_flops", "tokens"} <= set(known) and active is not None and not counted - {"", "6na"}:
            what = "6 N_a D" if "active_params" in known else "6 N D"
            said.append(_gap(runs, "train_flops", known["train_flops"] / (6 * active * known["tokens"]), what))
        if {"sparsity", "n_experts", "top_k"} <= set(known):
            ratio = (1 - known["sparsity"]) * known["n_experts"] / known["top_k"]
            said.append(_gap(runs, "sparsity", ratio, "1 - K / E", "1 minus sparsity", "K / E"))
        elif {"sparsity", "n_experts"} <= set(known) and dense(runs):
            said.append(_gap(runs, "sparsity", 1 - known["sparsity"], "0", "1 minus sparsity", "1 / E"))
        if {"sparsity", "activation_ratio"} <= set(known):
            ratio = known["activation_ratio"] / (1 - known["sparsity"])
            said.append(_gap(runs, "activation_ratio", ratio, "1 - S"))
        if {"total_params", "active_params"} <= set(known):
            said.append(_sizes(runs, known))
    return [sentence for sentence in said if sentence]


def ask_units(runs: pd.DataFrame, aliases: Mapping[str, str], vouched: Collection[str]) -> None:
    """Refuse numbers that cannot be meant as they stand: parameters in millions, tokens in billions.

    Args:
        runs: finished runs.
        aliases: the file's name -> the book's, of renamed columns.
        vouched: columns whose unit the reader has given.

    Raises:
        RunTableError: such a number, with the option that converts it, or says that it is right.
    """
    known = {name: values for name, values in _known(runs).items() if name not in vouched}
    file_names = {ours: theirs for theirs, ours in aliases.items()}

    def refuse(bad: np.ndarray, what: str, name: str, factor: str) -> None:
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            theirs = file_names.get(name, name)
            option = f"{name}={theirs if not set(theirs) & set(',=`') else f'`{theirs}`'}"
            raise RunTableError(
                f"row {runs.index[at]}, column {shown(theirs)}: {what.format(*(v[at] for v in shown_values))}; in"
                f" which unit is it? Convert with --map '{option[:90]}*{factor}', or say that it is right with *1"
            )

    for name in _PARAMETERS:
        if name in known:
            shown_values = [known[name]]
            refuse(known[name] < FEWEST_PARAMETERS, "{:g} parameters are too few for a model", name, "1e6")
    if "tokens" not in known or len(known) == 1:
        return
    shown_values = [known["tokens"]]
    refuse(known["tokens"] < FEWEST_TOKENS, "{:g} tokens are too few for a run", "tokens", "1e9")
    sizes = next((known[name] for name in ("active_params", "total_params") if name in known), None)
    if sizes is None:
        return
    with np.errstate(all="ignore"):
        shown_values = [known["tokens"], sizes]
        ratio = known["tokens"] / sizes
        refuse(ratio < TOKENS_PER_PARAMETER[0], "{:g} tokens are too few for {:g} parameters", "tokens", "1e9")
        size = "active_params" if "active_params" in known else "total_params"
        refuse(ratio > TOKENS_PER_PARAMETER[1], "{1:g} parameters are too few for {0:g} tokens", size, "1e6")
        active = _active(runs, known)
        if "train_flops" in known and active is not None:
            expected = 6 * active * known["tokens"]
            off = np.abs(np.log(known["train_flops"] / expected))
            shown_values = [known["train_flops"], expected]
            refuse(off > np.log(FLOPS_FACTOR), "{:g} FLOPs, but 6 N D is {:g}", "train_flops", "1e18")


def _guessing(runs: pd.DataFrame) -> str:
    if "loss" not in runs.columns or runs.empty:
        return ""
    middle = float(np.median(as_numbers(runs["loss"].to_numpy())))
    if not middle > GUESSING:
        return ""
    return (
        f"loss is {middle:.3g} in the median, where guessing among a million token ids gives {GUESSING:.3g} nats: of a"
        " perplexity the loss is the logarithm, --map 'loss=ln(COLUMN)'"
    )


def _known(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    names = (*_PARAMETERS, "tokens", "train_flops", "sparsity", "n_experts", "top_k", "activation_ratio")
    return {name: as_numbers(runs[name].to_numpy()) for name in names if name in runs.columns}


def _active(runs: pd.DataFrame, known: Mapping[str, np.ndarray]) -> np.ndarray | None:
    if "active_params" in known:
        return known["active_params"]
    return known.get("total_params") if dense(runs) else None


def _gap(runs: pd.DataFrame, name: str, ratio: np.ndarray, formula: str, left: str = "", right: str = "") -> str:
    far = np.abs(ratio - 1) > TOLERANCE
    if not far.any():
        return ""
    middle = np.median(ratio[far])
    first = runs.index[int(np.flatnonzero(far)[0])]
    return (
        f"{name} is not {formula} in {far.sum()} of {len(runs)} runs, row {first} first: {left or 'it'} is"
        f" {middle:.3g} times {right or 'that'} (median); the file's columns are used as they are"
    )


def _sizes(runs: pd.DataFrame, known: Mapping[str, np.ndarray]) -> str:
    """N against N_a: not below it, equal for a dense model, at most N_a / (1 - S) for a sparse one."""
    share = known["active_params"] / known["total_params"]
    sparsity = known.get("sparsity")
    if sparsity is None and {"n_experts", "top_k"} <= set(known):
        sparsity = 1 - known["top_k"] / known["n_experts"]
    far = share > 1 + TOLERANCE
    what = "active_params is more than total_params"
    if not far.any() and sparsity is not None:
        far = share < (1 - sparsity) * (1 - TOLERANCE)
        what = "active_params is less than its share of total_params, (1 - S) N,"
    if not far.any():
        return ""
    at = int(np.flatnonzero(far)[0])
    return (
        f"{what} in {far.sum()} of {len(runs)} runs, row {runs.index[at]} first: {known['active_params'][at]:.4g} and"
        f" {known['total_params'][at]:.4g}; the file's columns are used as they are"
    )
