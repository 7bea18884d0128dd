"""Analyses, figures and numbers of the chapters on serving: costs on paper and measured, and plans."""
