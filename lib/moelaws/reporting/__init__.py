"""One page for a run table, to be sent to somebody: what is in it, what it says, what it leaves open."""
