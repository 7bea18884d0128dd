"""Options and output of commands that are about serving."""
