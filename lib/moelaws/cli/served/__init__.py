"""Options, output and files of commands that are about serving."""
