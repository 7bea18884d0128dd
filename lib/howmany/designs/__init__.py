"""Which runs the book trains: each sweep a function that returns them."""
