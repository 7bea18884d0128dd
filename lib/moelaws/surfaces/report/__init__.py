"""An isoFLOP analysis told to others: as tables, in words, as plain values for a file."""
