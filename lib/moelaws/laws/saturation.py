"""The saturating expert count in coordinates that a fit can walk in: the same laws, on the branch where experts count.

Clark's 1/Eh = 1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max is meant for E_start < E_max. Beyond lies another branch,
on which Eh has a pole or falls with E, and which fits to few runs like to visit; and a law without an end lies
infinitely far away. With q = 1/E_start - 1/E_max and m = 1/E_max, both positive, neither is so.
"""

from collections.abc import Mapping
from dataclasses import replace

from moelaws.laws.coefficients import Parameter
from moelaws.laws.forms import Law, LawError

SATURATING = {"Eh": "1/(1/(E - 1 + 1/q) + m)"}
ENDLESS = {"Eh": "E - 1 + 1/q"}

STEP = Parameter("q", True, (0.05, 2.0), (1e-3, 1e2), "1/E_start - 1/E_max")
END = Parameter("m", True, (1e-3, 0.1), (1e-6, 1e2), "1/E_max")

_REPLACED = ("E_start", "E_max")


def saturating(law: Law) -> Law:
    """A law with Clark's expert count, written in q and m instead of E_start and E_max.

    Args:
        law: a law whose definition of Eh has the parameters E_start and E_max.

    Returns:
        The same law in other coordinates; it has no published sets.

    Raises:
        LawError: a law without them.
    """
    return _written(law, SATURATING, (STEP, END), law.name)


def endless(law: Law) -> Law:
    """A law with Clark's expert count, for E_max without limit: Eh = E - 1 + E_start.

    Args:
        law: as for ``saturating``.

    Returns:
        The nested law, with the parameter q = 1/E_start.

    Raises:
        LawError: a law without E_start and E_max.
    """
    return _written(law, ENDLESS, (STEP,), f"{law.name}, no E_max")


def ends_of(params: Mapping[str, float]) -> tuple[float, float]:
    """E_start and E_max from the coordinates of ``saturating`` or, with an infinite E_max, ``endless``.

    Args:
        params: parameter -> value, with ``q`` and perhaps ``m``.

    Returns:
        (E_start, E_max).
    """
    m = params.get("m", 0.0)
    return 1 / (params["q"] + m), 1 / m if m > 0 else float("inf")


def _written(law: Law, definitions: Mapping[str, str], new: tuple[Parameter, ...], name: str) -> Law:
    if not set(_REPLACED) <= set(law.parameter_names):
        raise LawError(f"law {law.name!r} has no parameters E_start and E_max; it has {', '.join(law.parameter_names)}")
    kept = tuple(p for p in law.parameters if p.name not in _REPLACED)
    return replace(law, name=name, definitions=definitions, parameters=kept + new, published={})
