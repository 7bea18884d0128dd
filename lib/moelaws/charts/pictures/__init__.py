"""Figures of a reader's own run table, whatever columns it has."""
