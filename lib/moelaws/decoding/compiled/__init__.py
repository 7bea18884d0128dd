"""Decoding compiled by numba: one call a step. Needs torch and numba."""
