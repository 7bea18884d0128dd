"""Analyses, figures and numbers of the first chapters: the question, the model, its counts, its recipe."""
