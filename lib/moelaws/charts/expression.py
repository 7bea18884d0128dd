"""A law as a Vega expression, so that a page computes its predictions itself while a reader moves a slider."""

from collections.abc import Mapping

from moelaws.formulas.parsing import Binary, Call, Name, Negative, Node, Number
from moelaws.laws import Law

_LOGS = {"ln": "log({})", "log2": "(log({})/LN2)", "log10": "(log({})/LN10)"}


def vega_expression(law: Law, params: Mapping[str, float], variables: Mapping[str, str]) -> str:
    """Write a law with its coefficients in Vega's expression language.

    Arguments:
        law: the law.
        params: parameter -> value.
        variables: the law's letter -> an expression, such as `datum.N` or the name of a slider.

    Returns:
        An expression for `transform_calculate`.

    Raises:
        KeyError: a letter for which there is neither a value nor an expression.
    """
    return _write(law.tree, {name: repr(float(params[name])) for name in law.parameter_names} | dict(variables))


def _write(node: Node, names: Mapping[str, str]) -> str:
    match node:
        case Number(value):
            return repr(float(value))
        case Name(name):
            return f"({names[name]})"
        case Negative(part):
            return f"(-{_write(part, names)})"
        case Call(function, part):
            return _LOGS.get(function, function + "({})").format(_write(part, names))
        case Binary("^", left, right):
            return f"pow({_write(left, names)},{_write(right, names)})"
        case Binary(operator, left, right):
            return f"({_write(left, names)}{operator}{_write(right, names)})"
    raise TypeError(f"no Vega expression for {node!r}")
