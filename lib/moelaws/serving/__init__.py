"""What serving costs, on paper: work of a step, time on a machine, dollars per token, and the plan that follows.

``__init__.pyi`` lists the names. Nothing here imports torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
