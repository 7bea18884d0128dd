"""Fitting laws and surfaces to run tables. Nothing here imports torch."""
