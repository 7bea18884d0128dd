"""The findings of the front page: what each is computed from, and its picture."""
