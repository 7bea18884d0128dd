"""Which laws a command asks: by name, and of the reader's own."""

import argparse

from moelaws.laws import LAWS, Law, law, law_from_formula
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


def add_laws(parser: argparse.ArgumentParser) -> None:
    """Add ``--laws`` and ``--formula``, of a command that asks several laws."""
    parser.add_argument("--laws", metavar="NAME,...", help="these laws only (default: all that the table can identify)")
    add_formula(parser, several=True)


def laws_of(options: argparse.Namespace) -> list[Law] | None:
    """The laws that ``--laws`` and ``--formula`` name; ``None`` where neither does.

    Raises:
        ValueError: a name that no law has, or what ``own_laws`` refuses.
    """
    own = own_laws(options)
    if options.laws is not None:
        return [*(law(name) for name in options.laws.split(",") if name), *own]
    return [*(each for each in LAWS.values() if each.target == "loss"), *own] if own else None


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
