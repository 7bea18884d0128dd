"""What stops a build, said in one sentence each."""


class BookError(Exception):
    """One or more reasons why the book was not built.

    Arguments:
        reasons: one message each, naming the file (and the cell) and what was expected there.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__(*reasons)
        self.reasons = reasons

    def __str__(self) -> str:
        return "\n".join(self.reasons)
