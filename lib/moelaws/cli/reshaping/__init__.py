"""Commands that make one checkpoint of another, of our kind or of other programs."""
