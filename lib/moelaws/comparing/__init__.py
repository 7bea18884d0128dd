"""Laws against each other on one table: which it can tell apart, and which foresees what it has not seen."""
