"""Commands that ask a run table which law, how much faster, what next; and the page about it."""
