"""Formulas as LaTeX, for chapters and figures."""

from moelaws.formulas.parsing import Binary, Call, Name, Negative, Node, Number

GREEK = {"alpha", "beta", "gamma", "delta", "lambda", "omega", "zeta", "eta", "mu", "kappa", "rho", "theta"}
PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 4, "^": 3}
_FUNCTIONS = {"ln": r"\ln", "log2": r"\log_2", "log10": r"\log_{10}", "exp": r"\exp"}


def to_latex(node: Node) -> str:
    """Write a tree as LaTeX, without dollar signs.

    Args:
        node: a formula's tree; names ending in ``h`` after one capital are hatted (``Eh`` is E-hat).

    Returns:
        LaTeX for math mode.
    """
    match node:
        case Number(value):
            return f"{float(value):g}"
        case Name(name):
            return symbol(name)
        case Negative(part):
            return "-" + _wrapped(part, 2)
        case Call("sqrt", part):
            return rf"\sqrt{{{to_latex(part)}}}"
        case Call(function, Name(name)):
            return rf"{_FUNCTIONS[function]} {symbol(name)}"
        case Call(function, part):
            return rf"{_FUNCTIONS[function]}\left({to_latex(part)}\right)"
        case Binary("/", left, right):
            return rf"\frac{{{to_latex(left)}}}{{{to_latex(right)}}}"
        case Binary("^", left, right):
            base = rf"\left({to_latex(left)}\right)" if not isinstance(left, Name | Number) else to_latex(left)
            return f"{base}^{{{to_latex(right)}}}"
        case Binary("*", left, right):
            return rf"{_wrapped(left, 2)} \, {_wrapped(right, 2)}"
        case Binary(sign, left, right):
            return f"{to_latex(left)} {sign} {_wrapped(right, 2 if sign == '-' else 1)}"


def symbol(name: str) -> str:
    """A parameter's or variable's name as LaTeX: ``alpha``, ``E_start``, ``Eh``."""
    head, _, tail = name.partition("_")
    digits = head.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    stem = head[: len(head) - len(digits)] if digits else head
    if len(stem) == 2 and stem[0].isupper() and stem[1] == "h":
        stem = rf"\hat{{{stem[0]}}}"
    elif stem in GREEK:
        stem = rf"\{stem}"
    elif len(stem) > 1:
        stem = rf"\mathrm{{{stem}}}"
    subscript = digits or (tail if len(tail) == 1 else rf"\mathrm{{{tail}}}" if tail else "")
    return f"{stem}_{{{subscript}}}" if subscript else stem


def _wrapped(node: Node, strength: int) -> str:
    text = to_latex(node)
    weak = isinstance(node, Negative) or (isinstance(node, Binary) and PRECEDENCE[node.operator] < strength)
    return rf"\left({text}\right)" if weak else text
