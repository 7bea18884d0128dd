"""Analyses, figures and numbers of the chapters on published laws: fits, optima, intervals, comparisons."""
