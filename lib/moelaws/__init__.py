"""moelaws: how mixture-of-experts language models scale, in training and in serving.

    import moelaws as ml

    runs = ml.read_runs("runs.csv", rename={"loss": "val/loss"})
    fit = ml.fit("abnar2025", runs)
    plan = ml.plan(train_flops=1e21, serve_tokens=1e12, hardware="h100")

Names are loaded when they are first used: ``import moelaws`` takes milliseconds, and only the names that train or run
models import torch. The list of names, with their types, is ``__init__.pyi`` beside this file.
"""

import lazy_loader

__version__ = "0.3.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
