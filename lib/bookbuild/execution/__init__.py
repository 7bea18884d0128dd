"""Chapters executed: `execute` does one, `notebooks` those that have changed, side by side; `cache` keeps the others.

`nursery` starts the kernels of many chapters from one process; `colophon` writes into each notebook how it was made.
"""
