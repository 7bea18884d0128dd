"""The recorded tables of this book, as they come with the package.

>>> from moelaws import datasets
>>> "isoflop" in datasets.names()
True
>>> len(datasets.load("synthetic"))
252
"""

from moelaws.datasets.recorded_tables import DatasetError, load, names, place

__all__ = ["DatasetError", "load", "names", "place"]
