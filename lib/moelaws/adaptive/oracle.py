"""Every route through a model with two networks a layer, and the best of them: the oracle, which reads the answers.

Shape suffixes: R routes, B sequences, T time.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from moelaws.adaptive.duo import BIG, SKIP, SMALL, DuoTransformer, fixed

Array = NDArray[np.float64]


def routes(layers: int, choices: Sequence[int] = (SKIP, SMALL, BIG)) -> list[tuple[int, ...]]:
    """All routes through so many layers, the last layer changing first.

    Example:
        >>> routes(2, (SMALL, BIG))
        [(1, 1), (1, 2), (2, 1), (2, 2)]
    """
    return list(product(choices, repeat=layers))


@torch.no_grad()
def route_losses(
    model: DuoTransformer, windows: Tensor, choices: Sequence[int] = (SKIP, SMALL, BIG),
    reduce: Callable[[Tensor], Tensor] = lambda loss_BT: loss_BT.mean(1),
) -> Array:  # fmt: skip
    """What each route loses on each sequence.

    Routes with a common beginning are computed together up to where they part.

    Args:
        model: the model.
        windows: token ids, sequences x (context + 1).
        choices: in each layer.
        reduce: what is kept of the losses of a route, B x T, nats.

    Returns:
        Of each route, in the order of ``routes``: R x whatever ``reduce`` gives.

    Example:
        >>> import moelaws as ml
        >>> dense = ml.ModelConfig(vocab_size=64, d_model=16, n_layers=3, n_heads=2, d_ff=32, context=16)
        >>> text = torch.randint(64, (4, 17), generator=torch.Generator().manual_seed(0))
        >>> route_losses(ml.DuoTransformer(ml.DuoConfig(dense, small=4)), text).shape
        (27, 4)
    """
    ids_BT, targets_BT = windows[:, :-1], windows[:, 1:]
    turn_TJ = model.turns(ids_BT.shape[1])

    def below(layer: int, x_BTD: Tensor) -> Iterator[Array]:
        if layer == len(model.layers):
            yield reduce(model.losses_of(model.final_norm(x_BTD), targets_BT)).double().numpy()
            return
        block = model.layers[layer]
        x_BTD, seen_BTD = block.attended(x_BTD, turn_TJ)
        for choice in choices:
            yield from below(layer + 1, x_BTD + block.added(seen_BTD, fixed((choice,))(0, seen_BTD)))

    return np.stack(list(below(0, F.embedding(ids_BT, model.embedding))))


def best_route(losses_RB: Array, allowed_R: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The route of each sequence that loses least, of those allowed.

    Args:
        losses_RB: on what the choice may look at.
        allowed_R: routes within the budget.
    """
    return np.where(allowed_R[:, None], losses_RB, np.inf).argmin(0)
