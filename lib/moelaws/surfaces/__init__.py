"""IsoFLOP analysis: loss surfaces of runs of equal budget, and their optima. Nothing here imports torch."""
