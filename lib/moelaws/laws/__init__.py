"""Every published law of mixture-of-experts scaling in one form, with its coefficients and their sources.

    >>> from moelaws.laws import LAWS, law
    >>> sorted(LAWS)[:3]
    ['abnar2025', 'bilinear', 'clark2022']
    >>> abnar = law("abnar2025")
    >>> abnar.parameter_names
    ('a', 'b', 'c', 'd', 'e', 'alpha', 'beta', 'lambda', 'delta', 'gamma')
    >>> run = {"total_params": 18.8e9, "tokens": 110.2e9, "sparsity": 0.98}
    >>> round(float(abnar.predict(abnar.published["table3"], run)), 5)
    2.16934

The interface, stable:

``LAWS``: name -> ``Law``. ``law(name)``: the same with a clear error. A ``Law`` has

* ``name, formula, definitions, variables, parameters, parameter_names, published, source, conventions, target``
* ``predict(params, table)``: loss; ``params`` and ``table`` map names and columns to numbers or arrays, which broadcast
* ``gradient(params, table)``: exact derivatives by the parameters, by name
* ``slopes(params, table)``: exact derivatives by the variables, by letter
* ``solve_for(symbol, target, params, table, between)``: one variable from the loss
* ``columns(table)``: which column each variable is read from
* ``latex()``

``law_from_formula(name, formula, variables)`` makes a law of one's own; no gradient is to be written.
"""

from moelaws.formulas.parsing import FormulaError
from moelaws.laws import baselines, composition, dense, granular, joint, leverage, routed, sparsity, upcycling
from moelaws.laws.coefficients import Parameter, Published, Variable, amplitude, exponent, scale
from moelaws.laws.forms import Law, LawError
from moelaws.laws.own import law_from_formula

LAWS: dict[str, Law] = {
    each.name: each
    for family in (dense, routed, baselines, granular, sparsity, joint, leverage, upcycling, composition)
    for each in family.LAWS
}
"""Every law, by name."""

__all__ = [
    "LAWS",
    "FormulaError",
    "Law",
    "LawError",
    "Parameter",
    "Published",
    "Variable",
    "amplitude",
    "exponent",
    "law",
    "law_from_formula",
    "scale",
]


def law(name: str) -> Law:
    """Look a law up by name.

    Raises:
        LawError: no such law.

    Examples:
        >>> law("hoffmann2022").formula
        'E + A/N^alpha + B/D^beta'
    """
    try:
        return LAWS[name]
    except KeyError:
        raise LawError(f"no law {name!r}; there are {', '.join(sorted(LAWS))}") from None
