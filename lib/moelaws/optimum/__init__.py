"""The best models under a budget, as a law sees them. Nothing here imports torch."""
