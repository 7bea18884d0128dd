"""Figures of this book's study."""
