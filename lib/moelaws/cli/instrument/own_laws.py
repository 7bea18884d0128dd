"""A law of the reader's own, from what the command line says of it."""

import argparse

from moelaws.laws import Law, law_from_formula
from moelaws.quote import shown
from moelaws.runs.reading.rename import our_name, parse_map


def add_formula(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Add ``--formula`` and ``--variables``.

    Args:
        parser: of the command.
        several: whether there may be more than one.
    """
    example = 'a law of your own: "E + A/N^alpha + B/D^beta"; see --variables'
    if several:
        parser.add_argument("--formula", action="append", default=[], help=f"{example}; may be given several times")
    else:
        parser.add_argument("--formula", help=example)
    parser.add_argument("--variables", metavar="N=COLUMN,...", help="columns of the formula's variables")


def own_laws(options: argparse.Namespace) -> list[Law]:
    """The laws that ``--formula`` names: ``formula``, ``formula 2``, and so on.

    Raises:
        ValueError: no ``--variables``, or a formula that cannot be read.
    """
    texts = options.formula if isinstance(options.formula, list) else [options.formula] if options.formula else []
    if texts and not options.variables:
        raise ValueError("--formula needs --variables, such as N=total_params,D=tokens")
    rename = parse_map(options.map)
    columns = {
        letter: our_name(column, rename) for letter, column in parse_map(options.variables, "--variables").items()
    }
    return [
        _own(f"formula {number}" if number > 1 else "formula", text, columns)
        for number, text in enumerate(texts, start=1)
    ]


def _own(name: str, text: str, columns: dict[str, str]) -> Law:
    from moelaws.formulas.parsing import names, parse

    used = set(names(parse(text)))
    # Several formulas share one --variables; each takes the letters that occur in it.
    taken = {letter: column for letter, column in columns.items() if letter in used}
    if not taken:
        asked = ", ".join(map(shown, columns))
        raise ValueError(f"--formula {shown(text)}: none of {asked}, which --variables names, occurs in it")
    return law_from_formula(name, text, taken)
