"""What each expert of a mixture is worth, from how a model reads some text.

Shape suffixes: T tokens, D model width, E experts, K chosen per token, J widths.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from moelaws.models import ExpertsLayer, RouterStatistics, Transformer
from moelaws.models.experts import experts_by_loop
from moelaws.models.router import route
from moelaws.reshape.upcycle import ReshapeError

_SEQUENCES = 32  # read at a time


@dataclass(frozen=True)
class Visits:
    """What a layer with experts saw of a text.

    Attributes:
        layer: the layer.
        x_TD: the tokens as they come to it.
        gates_TK, ids_TK: the experts chosen and their weights.
    """

    layer: ExpertsLayer
    x_TD: Tensor
    gates_TK: Tensor
    ids_TK: Tensor

    @property
    def frequency_E(self) -> Tensor:
        """Share of the tokens that choose each expert: phi of Huang et al. 2024."""
        return self._sum(torch.ones_like(self.gates_TK)) / len(self.x_TD)

    @property
    def weight_E(self) -> Tensor:
        """Mean weight that each expert's output gets, zero where it is not chosen: w of Huang et al. 2024."""
        return self._sum(self.gates_TK) / len(self.x_TD)

    def _sum(self, values_TK: Tensor) -> Tensor:
        flat = values_TK.flatten().double()
        return flat.new_zeros(len(self.layer.router)).index_add_(0, self.ids_TK.flatten(), flat)


@torch.no_grad()
def visits(model: Transformer, windows: Tensor) -> list[Visits]:
    """Read a text, and keep what came to each layer with experts.

    Args:
        model: a mixture.
        windows: token ids, sequences x (context + 1); the last of each is not read.

    Raises:
        ReshapeError: the model has no experts, or the text has tokens that are none of the model's.
    """
    layers, known = layers_with_experts(model), model.config.vocab_size
    lowest, highest = int(windows.min()), int(windows.max())
    if lowest < 0 or highest >= known:
        raise ReshapeError(
            f"the text has tokens {lowest} to {highest}; expected a text in the tokens of the model, 0 to {known - 1}"
        )
    seen: dict[ExpertsLayer, list[Tensor]] = {layer: [] for layer in layers}
    hooks = [
        layer.register_forward_pre_hook(lambda module, inputs: seen[cast(ExpertsLayer, module)].append(inputs[0]))
        for layer in layers
    ]
    try:
        for part in windows.split(_SEQUENCES):
            model.features(part[:, :-1])
    finally:
        for hook in hooks:
            hook.remove()
    found = []
    for layer in layers:
        x_TD = torch.cat(seen[layer])
        gates_TK, statistics = routed(layer, x_TD)
        found.append(Visits(layer, x_TD, gates_TK, statistics.ids_TK))
    return found


def layers_with_experts(model: Transformer) -> list[ExpertsLayer]:
    """The layers that have experts, in order.

    Raises:
        ReshapeError: none has.
    """
    found = [block.experts for block in model.blocks if isinstance(block.experts, ExpertsLayer)]
    if not found:
        raise ReshapeError("n_experts = 1: the model is dense; expected a mixture of experts")
    return found


def routed(layer: ExpertsLayer, x_TD: Tensor) -> tuple[Tensor, RouterStatistics]:
    """Weights and experts of tokens, as the layer itself chooses them."""
    return route(x_TD, layer.router, layer.top_k, layer.renormalize, layer.balance_bias, layer.scores)


@torch.no_grad()
def damage(seen: Visits, changed: Callable[[int], Sequence[tuple[Tensor, Tensor]]]) -> Tensor:
    """How far a layer's output moves if one expert alone is changed: eps of Huang et al. 2024, E x J.

    Args:
        seen: the layer and its tokens.
        changed: number of an expert -> its two matrices (``w_in``, ``w_out``) under each of J changes.

    Returns:
        Frobenius norms of the change of the output over all tokens.
    """
    rows = []
    for expert in range(len(seen.layer.router)):
        token, choice = torch.where(seen.ids_TK == expert)
        x, gate = seen.x_TD[token], seen.gates_TK[token, choice, None]
        before = _output(x, seen.layer.w_in[expert], seen.layer.w_out[expert])
        rows.append([(gate * (_output(x, *each) - before)).norm() for each in changed(expert)])
    return torch.tensor(rows, dtype=torch.float64)


def _output(x_TD: Tensor, w_in: Tensor, w_out: Tensor) -> Tensor:
    ones = torch.ones(len(x_TD), 1)
    return experts_by_loop(x_TD, ones, torch.zeros(len(x_TD), 1, dtype=torch.long), w_in[None], w_out[None])
