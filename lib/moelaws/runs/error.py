"""What is wrong with a run table."""


class RunTableError(ValueError):
    """A run table cannot be used; the message names file, row and column."""


class RunTableWarning(UserWarning):
    """A run table can be used, and something about it should be known: what was derived, what does not agree."""
