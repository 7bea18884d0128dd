"""Corpora: where text comes from, its tokens, and the order in which they are read."""
