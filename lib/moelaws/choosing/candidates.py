"""Runs that could be made: models of a family at several budgets, within what a reader has."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.fitting.objective import FitError
from moelaws.optimum.family import Family, proportional
from moelaws.optimum.run_family import family_of_runs
from moelaws.runs import derive
from moelaws.runs.numbers import as_numbers

TRAINING_BYTES = 16.0
"""Of memory for a parameter in training: weights, gradients and two moments in fp32, or the same with a bf16 copy."""
_LEVEL = 10**0.5
_MOST_LEVELS = 9
_SIZES = 6
"""Sizes at a level: from the fewest tokens a parameter to the most, a factor of about two apart."""
_TOKENS_A_PARAMETER = (5.0, 320.0)
_ALL_SIZES = np.geomspace(1.0, 1e14, 1_401)
"""From a width of one to the largest number of parameters that anybody has thought of."""
_EXPERTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_REACH = 3_000.0
"""From nothing, the cheapest run costs this many times less than the dearest."""
_SHARE = 0.25
"""Of what there is, that one run may take unless a reader says so: a design that hangs on one run tells nothing where
that fails."""
_LEAST_SIZE = 1_000.0
"""Active parameters below which nobody trains a language model, unless a table holds smaller ones."""
_WIDTH = 4
"""Widths are multiples of this."""


@dataclass(frozen=True)
class Limits:
    """What a reader can run.

    Attributes:
        sizes: active parameters, least and most.
        experts: E that can be trained; those of the table, or powers of two to 64, by default.
        top_k: K; the table's most frequent, or 1, by default.
        smallest, largest: FLOPs of one run; a quarter of what there is at most, by default.
        memory: bytes that weights, gradients and moments must fit into.
        at_once: runs that go on at the same time; after each such wave the question is better asked again.
    """

    sizes: tuple[float, float] | None = None
    experts: tuple[float, ...] | None = None
    top_k: float | None = None
    smallest: float | None = None
    largest: float | None = None
    memory: float | None = None
    at_once: int = 1

    def __post_init__(self) -> None:
        for name in ("top_k", "smallest", "largest", "memory", "at_once"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise FitError(f"limits: {name} = {value!r}: expected a number > 0")
        if self.sizes is not None and not 0 < self.sizes[0] <= self.sizes[1] < np.inf:
            raise FitError(f"limits: sizes = {self.sizes[0]:g}, {self.sizes[1]:g}: expected the least and the most")
        least = self.top_k or 1
        if self.experts is not None and not (self.experts and all(least <= e < np.inf for e in self.experts)):
            raise FitError(f"limits: experts: expected one or more numbers of at least K = {least:g}")


@dataclass(frozen=True)
class Models:
    """The models that runs may be of.

    Attributes:
        family: sizes and FLOPs of each.
        experts: numbers of experts.
        top_k: K.
        tokens_a_parameter: D / N_a, least and most that is sensible.
        widths: E -> ``d_model`` and N_a of the models of a table that says both, [2, n]; empty otherwise.
        least: active parameters of the smallest.
    """

    family: Family
    experts: tuple[float, ...]
    top_k: float
    tokens_a_parameter: tuple[float, float]
    widths: Mapping[float, np.ndarray]
    least: float = _LEAST_SIZE

    def at(self, budget: float, experts: float, size: np.ndarray) -> pd.DataFrame:
        """Runs of a budget: models of some sizes, and the tokens that are left for each."""
        size = np.asarray(size, float)
        e, k = np.full_like(size, experts), np.full_like(size, min(self.top_k, experts))
        columns = {name: np.broadcast_to(value, size.shape) for name, value in self.family.columns(size, e, k).items()}
        with np.errstate(all="ignore"):
            tokens = budget / self.family.flops_per_token(size, e, k)
        return pd.DataFrame({**columns, "tokens": tokens, "train_flops": budget})

    def sizes(self, budget: float, experts: float, ratios: np.ndarray) -> np.ndarray:
        """Sizes of a budget at which so many tokens are left for an active parameter.

        Raises:
            FitError: no model of the family can be trained with it.
        """
        runs = self.at(budget, experts, _ALL_SIZES)
        ratio = (runs["tokens"] / runs["active_params"]).to_numpy()
        fine = np.isfinite(ratio) & (ratio > 0)
        if not fine.any():
            raise FitError(f"no model of the family {self.family.name} can be trained with {budget:g} FLOPs")
        # Falling, for a larger model costs more a token.
        return np.asarray(np.exp(np.interp(-np.log(ratios), -np.log(ratio[fine]), np.log(_ALL_SIZES[fine]))))

    def ratios(self, count: int = _SIZES, wider: float = 1.0) -> np.ndarray:
        """Tokens an active parameter, from the most to the fewest."""
        least, most = self.tokens_a_parameter
        return np.geomspace(most * wider, least / wider, count)


def models_of(runs: pd.DataFrame | None, limits: Limits, family: Family | None = None) -> Models:
    """The models that runs may be of: those of the table, unless a family is named.

    Args:
        runs: finished runs; ``None`` for none.
        limits: what a reader can run.
        family: of the models.

    Raises:
        FitError: a table that does not tell sizes, tokens and FLOPs, and no family.
    """
    if runs is None or not len(runs):
        usual = limits.experts or _EXPERTS
        return Models(family or proportional(), usual, limits.top_k or 1.0, _TOKENS_A_PARAMETER, {})
    chosen = family or family_of_runs(runs)
    if chosen is None:
        raise FitError("the table does not tell sizes, experts, tokens and FLOPs of its models: name a family")
    known, _ = derive(runs)
    numbers = {name: as_numbers(known[name].to_numpy()) for name in ("active_params", "tokens") if name in known}
    ratio = numbers["tokens"] / numbers["active_params"] if len(numbers) == 2 else np.array(_TOKENS_A_PARAMETER)
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    experts: tuple[float, ...] = (1.0,)
    top_k = 1.0
    if "n_experts" in known.columns:
        experts = tuple(sorted(float(e) for e in known["n_experts"].dropna().unique()))
    if "top_k" in known.columns and known["top_k"].notna().any():
        top_k = float(known["top_k"].mode().iloc[0])
    widths = _widths(known) if family is None else {}
    ends = (float(ratio.min()), float(ratio.max()))
    sizes = numbers.get("active_params", np.empty(0))
    least = min(_LEAST_SIZE, float(sizes[sizes > 0].min(initial=_LEAST_SIZE)))
    return Models(chosen, limits.experts or experts, limits.top_k or top_k, ends, widths, least)


def candidates_of(
    models: Models, limits: Limits, budget: float, asked: float | None, held: np.ndarray | None
) -> pd.DataFrame:
    """Runs that could be made, with their FLOPs, in the columns of a run table.

    Args:
        models: what they may be of.
        limits: what a reader can run.
        budget: FLOPs that there are for all.
        asked: FLOPs of what is asked: no run is dearer.
        held: FLOPs of the runs held, [n].

    Raises:
        FitError: none is within the limits, or there is too little for any.
    """
    top = min(limits.largest or _SHARE * budget, budget, asked or np.inf)
    bottom = limits.smallest or (top / _REACH if held is None or not len(held) else min(float(held.min()), top))
    levels = [top / _LEVEL**i for i in range(_MOST_LEVELS) if top / _LEVEL**i >= bottom * 0.999] or [top]
    found = []
    for level in levels:
        for experts in models.experts:
            sizes = models.sizes(level, experts, models.ratios())
            widths = models.widths.get(experts)
            if widths is not None:
                sizes = _of_width(widths, sizes)[1]
            runs = models.at(level, experts, np.unique(sizes))
            if widths is not None:
                runs.insert(0, "d_model", _of_width(widths, runs["active_params"].to_numpy())[0].astype(int))
            found.append(runs)
    table = pd.concat(found, ignore_index=True)
    size, total = table["active_params"], table["total_params"]
    fine = np.isfinite(table["tokens"]) & (table["tokens"] > 0)
    if not (fine & (size >= models.least)).any():
        raise FitError(
            f"{top:.3g} FLOPs for a run, of {budget:.3g} that there are: too few for a model of {models.least:,.0f} "
            "active parameters, the smallest that is offered"
        )
    fine &= size >= models.least
    if limits.sizes is not None:
        fine &= size.between(0.999 * limits.sizes[0], 1.001 * limits.sizes[1])
    if limits.memory is not None:
        fine &= total * TRAINING_BYTES <= limits.memory
    if limits.smallest is not None:
        fine &= table["train_flops"] >= 0.999 * limits.smallest
    table = table[fine].reset_index(drop=True)
    if table.empty:
        raise FitError(
            f"no run of at most {top:.3g} FLOPs is within the limits (sizes, experts, memory, smallest and largest run)"
        )
    return table


def _widths(runs: pd.DataFrame) -> dict[float, np.ndarray]:
    """Widths and sizes of the models of a table, for each E of which two were run."""
    if not {"d_model", "active_params", "n_experts"} <= set(runs.columns):
        return {}
    found = {}
    for experts, group in runs.groupby("n_experts"):
        pairs = group.groupby("d_model")["active_params"].median()
        ends = np.array([pairs.index.to_numpy(float), pairs.to_numpy(float)])
        if ends.shape[1] > 1 and (ends > 0).all() and (np.diff(ends[1]) > 0).all():
            found[float(str(experts))] = ends
    return found


def _of_width(widths: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Widths that can be built, nearest to some sizes, and the sizes that they have."""
    d, n = np.log(widths)
    slope = (d[-1] - d[-2]) / (n[-1] - n[-2])
    log = np.log(sizes)
    width = np.exp(np.interp(log, n, d) + slope * np.maximum(log - n[-1], 0.0))
    width = np.maximum(_WIDTH * np.round(width / _WIDTH), _WIDTH)
    back = np.log(width)
    return width, np.exp(np.interp(back, d, n) + np.maximum(back - d[-1], 0.0) / slope)
