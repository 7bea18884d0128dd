"""The programs that are tried, as one: ``moelaws``, and behind the word ``book`` the book's builder."""

import argparse

import bookbuild.command
import moelaws.cli


def main(arguments: list[str]) -> int:
    """Run a command line of either."""
    if arguments[:1] == ["book"]:
        return bookbuild.command.main(arguments[1:])
    return moelaws.cli.main(arguments)


def make_parser() -> argparse.ArgumentParser:
    """A parser that knows the options of both."""
    parser = moelaws.cli.make_parser()
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.choices.values():
        command.learned()
    bookbuild.command.add_actions(commands.add_parser("book"))
    return parser
