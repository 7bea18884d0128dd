"""Analyses, figures and numbers of the chapters on runs of our own: surfaces, fits, experts, probes, verdicts."""
