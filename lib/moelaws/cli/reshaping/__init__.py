"""Commands that make one checkpoint of another."""
