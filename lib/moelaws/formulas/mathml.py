"""Formulas as MathML, which a page shows by itself: no script, no font and no other host."""

from html import escape

from moelaws.formulas.latex import GREEK, PRECEDENCE
from moelaws.formulas.nodes import Binary, Call, Name, Negative, Node, Number

LETTERS = dict(
    zip(
        ("alpha", "beta", "gamma", "delta", "lambda", "omega", "zeta", "eta", "mu", "kappa", "rho", "theta"),
        "αβγδλωζημκρθ",
        strict=True,
    )
)
"""Names of Greek letters -> the letters."""

_SUBSCRIPTED = {"log2": "2", "log10": "10"}
_TIMES = '<mo rspace="0.12em" lspace="0.12em">&#8290;</mo>'


def to_mathml(node: Node) -> str:
    """Write a tree as MathML, without the element ``math`` around it.

    Args:
        node: a formula's tree; names are read as ``to_latex`` reads them.
    """
    match node:
        case Number(value):
            return f"<mn>{float(value):g}</mn>"
        case Name(name):
            return symbol(name)
        case Negative(part):
            return f"<mrow><mo>−</mo>{_wrapped(part, 2)}</mrow>"
        case Call("sqrt", part):
            return f"<msqrt>{to_mathml(part)}</msqrt>"
        case Call(function, Name(name)):
            return f"<mrow>{_function(function)}<mo>&#8289;</mo>{symbol(name)}</mrow>"
        case Call(function, part):
            return f"<mrow>{_function(function)}<mo>&#8289;</mo>{_bracketed(to_mathml(part))}</mrow>"
        case Binary("/", left, right):
            return f"<mfrac>{to_mathml(left)}{to_mathml(right)}</mfrac>"
        case Binary("^", left, right):
            base = to_mathml(left) if isinstance(left, Name | Number) else _bracketed(to_mathml(left))
            return f"<msup>{base}{to_mathml(right)}</msup>"
        case Binary("*", left, right):
            return f"<mrow>{_wrapped(left, 2)}{_TIMES}{_wrapped(right, 2)}</mrow>"
        case Binary(sign, left, right):
            written = "−" if sign == "-" else sign
            return f"<mrow>{to_mathml(left)}<mo>{written}</mo>{_wrapped(right, 2 if sign == '-' else 1)}</mrow>"


def symbol(name: str) -> str:
    """A parameter's or variable's name: ``alpha``, ``E_start``, ``Eh`` (E-hat)."""
    head, _, tail = name.partition("_")
    stem = head.rstrip("0123456789")
    digits = head[len(stem) :]
    if len(stem) == 2 and stem[0].isupper() and stem[1] == "h":
        base = f"<mover><mi>{escape(stem[0])}</mi><mo>^</mo></mover>"
    elif stem in GREEK:
        base = f"<mi>{LETTERS[stem]}</mi>"
    else:
        base = f"<mi>{escape(stem)}</mi>"
    below = digits or tail
    if not below:
        return base
    below = f"<mn>{below}</mn>" if below.isdigit() else f"<mi>{escape(LETTERS.get(below, below))}</mi>"
    return f"<msub>{base}{below}</msub>"


def _function(name: str) -> str:
    if name in _SUBSCRIPTED:
        return f"<msub><mi>log</mi><mn>{_SUBSCRIPTED[name]}</mn></msub>"
    return f"<mi>{name}</mi>"


def _bracketed(inner: str) -> str:
    return f"<mrow><mo>(</mo>{inner}<mo>)</mo></mrow>"


def _wrapped(node: Node, strength: int) -> str:
    weak = isinstance(node, Negative) or (isinstance(node, Binary) and PRECEDENCE[node.operator] < strength)
    return _bracketed(to_mathml(node)) if weak else to_mathml(node)
