"""Forecasts that a law must beat: a quadratic, which has no form, and a constant, whose process has no law."""

from collections.abc import Iterable
from contextlib import suppress

import pandas as pd

from moelaws.comparing.contestants import contestants
from moelaws.fitting.objective import FitError
from moelaws.laws import Law, LawError, law_from_formula
from moelaws.laws.coefficients import Parameter, amplitude
from moelaws.runs import derive

QUADRATIC = "quadratic"
"""ln L as a polynomial of second degree in the logs of size, tokens and experts: what bends, and no law."""
CONSTANT = "constant"
"""One number for all runs: with a process beside it, a process and nothing else."""
MEAN = "mean of the laws"
"""The laws' ln L averaged, each counting alike; baselines do not count."""

GROWING = law_from_formula(
    "growing",
    "c + A/(N^alpha*E^delta) + B*E^omega*N^kappa/D^beta",
    {"N": "active_params", "D": "tokens", "E": "n_experts"},
)
"""Size and experts in the data term, too: the simplest law in which what a token is worth depends on who reads it."""

_COLUMNS = {"N": "active_params", "D": "tokens", "E": "n_experts"}
_FAR = 1e5


def quadratic(runs: pd.DataFrame) -> Law:
    """The quadratic of those of N_a, D and E that vary in a table.

    Raises:
        FitError: none of them does.
    """
    known, _ = derive(runs, list(_COLUMNS.values()))
    letters = [k for k, name in _COLUMNS.items() if name in known.columns and known[name].nunique() > 1]
    if not letters:
        raise FitError("a quadratic needs active_params, tokens or n_experts to vary")
    logs = [f"ln({letter})" for letter in letters]
    terms = ["1", *logs, *(f"{one}*{other}" for i, one in enumerate(logs) for other in logs[i:])]
    names = [f"q{i}" for i in range(len(terms))]
    formula = " + ".join(name if term == "1" else f"{name}*{term}" for name, term in zip(names, terms, strict=True))
    free = tuple(Parameter(name, False, (-1.0, 1.0), (-_FAR, _FAR)) for name in names)
    return law_from_formula(QUADRATIC, f"exp({formula})", {k: _COLUMNS[k] for k in letters}, parameters=free)


def constant(runs: pd.DataFrame) -> Law:
    """The same loss for all runs, as a law."""
    known, _ = derive(runs, ["active_params"])
    size = next((name for name in ("active_params", "total_params") if name in known.columns), None)
    if size is None:
        raise FitError("no column of sizes")
    return law_from_formula(CONSTANT, "m*N^0", {"N": size}, parameters=(amplitude("m", "the loss"),))


def asked_laws(laws: Iterable[Law | str] | Law | str | None, runs: pd.DataFrame) -> tuple[list[Law], list[Law]]:
    """The laws to ask, and the baselines beside them.

    Args:
        laws: laws or their names; ``None`` for all that the table can identify, and ``GROWING``.
        runs: finished runs.

    Returns:
        Laws and baselines.

    Raises:
        FitError, LawError: no law that can be asked.
    """
    chosen, _ = contestants(laws, runs)
    if laws is None:
        with suppress(FitError, LawError):  # a table without experts or tokens has no use for it
            chosen += contestants([GROWING], runs)[0]
    return chosen, [quadratic(runs), constant(runs)]
