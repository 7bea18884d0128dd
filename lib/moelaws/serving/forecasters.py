"""Laws ready for a plan: published ones with the family they were fitted to, and fits of one's own from a file."""

from pathlib import Path

import numpy as np

import moelaws
from moelaws.laws import law
from moelaws.optimum.family import Family, alternating, glu, proportional, switch
from moelaws.optimum.forecaster import Forecaster
from moelaws.serving.fit_file import read_fit

__all__ = ["FAMILIES", "OURS", "PUBLISHED", "ours", "published", "read_fit"]

FAMILIES = {"proportional": proportional, "glu": glu, "switch": switch, "alternating": alternating}
"""Families by name, with their defaults."""

_UNKNOWN = (0.0, np.inf)

PUBLISHED = {
    "abnar2025": ("table3", "glu", (3e19, 1e21)),
    "ludziejewski2025": ("table3", "switch", _UNKNOWN),
}
"""Laws that know experts and tokens and have coefficients: name -> set of coefficients, family, and the training FLOPs
of the runs behind them where the paper prints those."""

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
    if name not in PUBLISHED:
        law(name)  # a name that is no law at all gets its own message
        raise ValueError(
            f"law {name!r} cannot plan: it lacks experts, tokens or published coefficients; "
            f"those that can are {', '.join(PUBLISHED)}, and fits of your own"
        )
    key, default, budgets = PUBLISHED[name]
    return Forecaster(law(name), law(name).published[key], family or FAMILIES[default](), budgets=budgets)


def ours(family: Family | None = None) -> Forecaster | None:
    """The law fitted to the book's own runs, or ``None`` while there is no such fit.

    Looked for under the working directory, its parent (for a chapter) and the source tree.
    """
    for root in (Path(), Path(".."), Path(moelaws.__file__).parents[2]):
        if (root / OURS).is_file():
            return read_fit(root / OURS, family)
    return None
