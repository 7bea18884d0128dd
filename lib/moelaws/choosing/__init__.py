"""Which runs next: those that tell most, per FLOP, about what is asked."""
