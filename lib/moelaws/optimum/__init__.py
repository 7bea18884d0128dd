"""The best models under a budget, as a law sees them. Nothing here imports torch.

``__init__.pyi`` lists the names: families of models, the forecaster, and what it is asked.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
