"""The choice of the next token from logits: the best one, or a draw. Each request draws from a stream of its own.

Shape suffixes: B requests, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: logits are divided by it; 0 takes the most probable token.
        top_p: draws come from the fewest most probable tokens that together have at least this probability
            (nucleus sampling, Holtzman et al. 2020); 1 allows all.
        seed: of the draws.

    Raises:
        ValueError: a temperature below 0, or a top_p outside (0, 1].
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature = {self.temperature!r}: expected a number >= 0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p!r}: expected a share above 0, at most 1")
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed!r}: expected a whole number >= 0")

    def draws(self, requests: int, steps: int) -> Tensor:
        """Uniform numbers from [0, 1), steps x requests: request i always gets the same, whatever stands beside it."""
        columns = [np.random.default_rng((self.seed, request)).random(steps) for request in range(requests)]
        return torch.from_numpy(np.stack(columns, axis=1))


GREEDY = Sampling()


def choose(logits_BV: Tensor, sampling: Sampling = GREEDY, draws_B: Tensor | None = None) -> Tensor:
    """The next token of every request.

    Args:
        logits_BV: from the model.
        sampling: how.
        draws_B: uniform numbers from [0, 1), one a request; not needed at temperature 0.

    Returns:
        Token ids, B.

    Raises:
        ValueError: a temperature above 0 without draws.
    """
    if sampling.temperature == 0:
        if logits_BV.is_cpu:  # numpy takes a tenth of torch's time, a few per cent of a step
            return torch.from_numpy(logits_BV.numpy().argmax(-1))
        return logits_BV.argmax(-1)
    if draws_B is None:
        raise ValueError(f"temperature = {sampling.temperature:g}: expected a draw for every request")
    # The best logit is taken off first, so that a temperature near 0 does not overflow.
    scores_BV = (logits_BV - logits_BV.amax(-1, keepdim=True)).double() / sampling.temperature
    probs_BV, ids_BV = scores_BV.softmax(-1).sort(-1, descending=True)
    up_to_BV = probs_BV.cumsum(-1)
    # The last token of the nucleus is the first one up to which the probability reaches top_p.
    nucleus_B1 = (up_to_BV < sampling.top_p).sum(-1, keepdim=True).clamp_(max=probs_BV.shape[1] - 1)
    mass_B1 = up_to_BV.gather(1, nucleus_B1)
    draws_B1 = draws_B.to(up_to_BV)[:, None] * mass_B1
    rank_B1 = torch.searchsorted(up_to_BV, draws_B1, right=True).minimum(nucleus_B1)
    return ids_BV.gather(1, rank_B1).squeeze(1)
