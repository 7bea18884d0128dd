"""The study of this book, which only its chapters and tests import: designs, verdicts, figures."""
