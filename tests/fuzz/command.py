"""A command line to try."""

from dataclasses import dataclass

from fuzz.words import OUTPUTS


@dataclass(frozen=True)
class Input:
    """One command line.

    Attributes:
        argv: the words after ``moelaws``.
        about: what is wrong with it, for the record.
        refuse: whether it can only be a wrong input (exit code 2), not a matter of taste.
        files: files to write into the folder first.
    """

    argv: tuple[str, ...]
    about: str
    refuse: bool = False
    files: tuple[tuple[str, bytes], ...] = ()

    @property
    def command(self) -> str:
        """The subcommand."""
        return self.argv[0] if self.argv else ""

    @property
    def outputs(self) -> set[str]:
        """Files that it asks for, which may change."""
        named = {value for name, value in zip(self.argv, self.argv[1:], strict=False) if name in OUTPUTS}
        return named | {*self.argv[3:4]} if self.command == "export" else named  # export FORMAT FOLDER OUT
