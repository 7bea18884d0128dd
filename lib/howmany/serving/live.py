"""A small model served on the machine that the page runs on; it needs torch, which is imported when it is called."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from moelaws.decoding.engine import AnyDecoder


def decoder(n_experts: int, engine: str = "eager") -> "AnyDecoder":
    """A tiny model with random weights, ready to decode.

    Args:
        n_experts: in every layer, one of which works on a token.
        engine: the program that decodes, ``eager`` or ``compiled``.
    """
    from moelaws.measuring.subjects import random_decoder
    from moelaws.training.recipe import tiny_model

    return random_decoder(tiny_model(32, n_experts), engine=engine)


def measured(model: "AnyDecoder", batches: Sequence[int]) -> pd.DataFrame:
    """Prefill and decode timed on one thread, a row a batch."""
    import torch

    from moelaws.measuring.grid import measure_batches
    from moelaws.measuring.requests import uniform_requests

    torch.set_num_threads(1)
    requests = uniform_requests(1024)
    rows = measure_batches(model, requests, list(batches), "random", prompt_tokens=32, new_tokens=16, repeats=3)
    return pd.DataFrame(rows)
