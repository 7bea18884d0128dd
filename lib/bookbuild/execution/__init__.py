"""Chapters executed: `execute` does one, `notebooks` those that have changed, side by side; `cache` keeps the others.

`colophon` writes into each how it was made.
"""
