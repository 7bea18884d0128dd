"""Laws of the reader's own, from a formula alone: which of its names are amplitudes, which are exponents."""

from collections.abc import Iterable, Mapping

from moelaws.formulas.parsing import Binary, Name, Node, names, parse, walk
from moelaws.laws.coefficients import Parameter, Variable, amplitude, exponent
from moelaws.laws.forms import Law, LawError
from moelaws.quote import shown

MOST_PARAMETERS = 40
"""Of a law of one's own; the published ones have eleven at most."""


def law_from_formula(
    name: str,
    formula: str,
    variables: Mapping[str, str],
    definitions: Mapping[str, str] | None = None,
    parameters: tuple[Parameter, ...] = (),
    target: str = "loss",
) -> Law:
    """A law of the reader's own, from its formula alone.

    A name that is not a variable is a parameter. One that multiplies a term, or stands alone as a term, is taken to
    be a positive amplitude; any other to be an exponent of either sign. Say so in ``parameters`` where that is wrong.

    Args:
        name: what to call it.
        formula: for instance ``"E + A/N^alpha + B/(D*(1-S))^beta"``.
        variables: letter -> column, for instance ``{"N": "total_params", "D": "tokens", "S": "sparsity"}``.
        definitions: see ``Law``.
        parameters: parameters to describe by hand.
        target: the column the formula predicts.

    Returns:
        The law, ready for ``predict`` and ``fit``.

    Raises:
        FormulaError, LawError: a formula that cannot be read or a name that is not used.

    Examples:
        >>> own = law_from_formula("mine", "E + A/N^alpha + B/D^alpha", {"N": "active_params", "D": "tokens"})
        >>> [each.name for each in own.parameters]
        ['E', 'A', 'alpha', 'B']
        >>> values = {"E": 1.7, "A": 400.0, "B": 410.0, "alpha": 0.3}
        >>> float(own.predict(values, {"active_params": 1e9, "tokens": 2e10}).round(2))
        2.83
    """
    tree = parse(formula, definitions)
    by_hand = {p.name: p for p in parameters}
    linear = amplitudes(tree, variables)
    guessed = tuple(
        by_hand.get(symbol) or (amplitude(symbol) if symbol in linear else exponent(symbol))
        for symbol in names(tree)
        if symbol not in variables
    )
    if len(guessed) > MOST_PARAMETERS:
        raise LawError(f"law {shown(name)}: {len(guessed)} parameters; expected at most {MOST_PARAMETERS}")
    return Law(
        name=name,
        formula=formula,
        variables=tuple(Variable(letter, (column,), column) for letter, column in variables.items()),
        parameters=guessed,
        definitions=definitions or {},
        source="the reader's own",
        target=target,
    )


def amplitudes(tree: Node, variables: Iterable[str]) -> set[str]:
    """Parameters on which a formula depends linearly and jointly: factors of its terms, each occurring once.

    Args:
        tree: a formula's tree.
        variables: names that are no parameters.

    Returns:
        The names; with all but them fixed, the formula is a weighted sum with these weights.
    """
    counts: dict[str, int] = {}
    for part in walk(tree):
        if isinstance(part, Name):
            counts[part.id] = counts.get(part.id, 0) + 1
    return {name for name in _factors(tree, set(variables)) if counts[name] == 1}


def _factors(node: Node, variables: set[str]) -> list[str]:
    match node:
        case Name(name):
            return [] if name in variables else [name]
        case Binary("+" | "-", left, right):
            return _factors(left, variables) + _factors(right, variables)
        case Binary("/", left, _):
            return _factors(left, variables)
        case Binary("*", left, right):
            # In A * f(x), A is the weight; in (g + a) * f(x), both are. A product of two sums has only one's.
            return _factors(left, variables) or _factors(right, variables)
    return []


def floor_of(law: Law) -> str | None:
    """The parameter that is a law's irreducible loss: the one that stands alone as a term; ``None`` without one."""

    def alone(node: Node) -> list[str]:
        match node:
            case Binary("+", left, right):
                return alone(left) + alone(right)
            case Name(name):
                return [name]
        return []

    found = [name for name in alone(law.tree) if name in law.parameter_names]
    return found[0] if len(found) == 1 else None
