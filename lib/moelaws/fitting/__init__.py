"""Fitting laws to run tables: from a table to a result with a status and intervals. Nothing here imports torch."""
