"""Generation from a model, one step at a time. Needs torch."""
