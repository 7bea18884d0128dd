"""The book's figures. Call `enable()` once in a notebook: it sets the theme and shows charts without a network.

Figures take tables and return Altair charts; ``__init__.pyi`` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
