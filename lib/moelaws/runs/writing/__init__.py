"""Tables that grow: append-only or a row a measurement, one writer, nothing lost or doubled."""
