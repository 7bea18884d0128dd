"""Adaptive compute: layers with a big and a small feed-forward network, or none, and who chooses. Needs torch."""
