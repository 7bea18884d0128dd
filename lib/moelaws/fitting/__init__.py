"""Fitting laws to run tables: from a table to a result with a status and intervals. Nothing here imports torch.

``moelaws.fit`` fits. What is done with its result, intervals, profiles, bootstrap, scores on what a law has not seen,
is listed in ``__init__.pyi``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
