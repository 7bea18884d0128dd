"""moelaws: how mixture-of-experts language models scale, in training and in serving."""

__version__ = "0.2.0"
