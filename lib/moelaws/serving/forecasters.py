"""Laws ready for a plan: published ones with the family they were fitted to, and fits of one's own from a file."""

from pathlib import Path

import moelaws
from moelaws.fitting.report.fit_file import load_fit
from moelaws.fitting.result import FitResult
from moelaws.json_file import JsonFileError
from moelaws.optimum.family import FAMILIES, Family, proportional
from moelaws.optimum.forecaster import Forecaster
from moelaws.optimum.known_coefficients import PUBLISHED
from moelaws.quote import shown

__all__ = ["FAMILIES", "OURS", "PUBLISHED", "ours", "published", "read_fit"]

OURS = Path("data/fits/ours.json")
"""Where the fit of the book's own runs lies, from the root of the book."""


def published(name: str, family: Family | None = None) -> Forecaster:
    """A published law with the family of models that it was fitted to.

    Args:
        name: ``abnar2025`` or ``ludziejewski2025``.
        family: another family.

    Raises:
        ValueError: a law that cannot choose a size and a number of experts under a budget.
    """
    return Forecaster(name, family=family)


def read_fit(path: str | Path, family: Family | None = None) -> Forecaster:
    """A law with coefficients from a file that ``moelaws fit --json`` wrote (``load_fit``), ready for a plan.

    Bands need the coefficients' joint uncertainty: refits, or a covariance of coefficients that are all identified
    (``FitResult.draws``). Intervals of single coefficients are not enough: amplitudes and exponents move together, and
    drawn independently they would give a band many times too wide. Where the file tells neither there is none.

    Args:
        path: the file.
        family: sizes, FLOPs and cache of the models; by default the one that the file names, or else all parameters
            belong to experts.

    Raises:
        JsonFileError: not such a file, a field of another kind, coefficients that are not the law's, or a law of
            quantities that a plan does not choose.
    """
    path = Path(path)
    fit = load_fit(path)
    _require_plannable(fit, family or proportional(), path.name)
    try:
        return Forecaster(fit, family=family)
    except ValueError as error:
        raise JsonFileError(f"{path.name}: {error}") from None


def _require_plannable(fit: FitResult, family: Family, name: str) -> None:
    """Refuse a law of quantities that a plan does not choose."""
    known = (*family.columns(1.0, 1.0, 1.0), "tokens", "train_flops")
    for variable in fit.law.variables:
        if not set(variable.columns) & set(known):
            raise JsonFileError(
                f"{name}: the law is a function of {shown(variable.columns[0])}, which a plan does not choose; "
                f"it chooses {', '.join(known)}"
            )


def ours(family: Family | None = None) -> Forecaster | None:
    """The law fitted to the book's own runs, or ``None`` while there is no such fit.

    Looked for under the working directory, its parent (for a chapter) and the source tree.
    """
    for root in (Path(), Path(".."), Path(moelaws.__file__).parents[2]):
        if (root / OURS).is_file():
            return read_fit(root / OURS, family)
    return None
