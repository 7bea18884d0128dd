"""Slides for lessons: texts of their own, with the figures and numbers of the built pages."""
