"""A fit told to others: in words, on a page, in a file."""
