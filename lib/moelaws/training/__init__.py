"""One training run: from a frozen configuration to a model and a row. Needs torch."""
