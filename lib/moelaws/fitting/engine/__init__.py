"""The search for the true optimum of a law's objective: private to ``moelaws.fitting``."""
