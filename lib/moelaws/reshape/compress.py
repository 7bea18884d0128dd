"""Compression: the experts of a mixture in few bits, more for those that matter; the bytes counted exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moelaws.config import ModelConfig
from moelaws.field import described
from moelaws.models import Transformer
from moelaws.models.bit_planes import MOST_BITS, BitPlanes, to_bit_planes
from moelaws.models.layout import Slot, slots
from moelaws.reshape.bit_budget import spend_bits
from moelaws.reshape.importance import Visits, damage, layers_with_experts, visits
from moelaws.reshape.upcycle import ReshapeError

PLAIN_BYTES = 4
"""Of a weight that stays as it is, fp32."""


@dataclass(frozen=True)
class Widths:
    """How many bits a weight gets.

    Attributes:
        experts: mean bits of the experts' weights. A whole number gives all experts the same, unless ``choices`` says
            otherwise; a fraction is shared out by importance, within each layer.
        choices: the widths that are shared out; if none are named, 1, 2 and 3.
        exponents: of activation frequency, routing weight and damage in the importance of an expert's bits: the cost
            of expert i at j bits is phi^a w^b eps^c (Huang et al. 2024, Eq. 4, who take 1, 1 and 2).
        rest: bits of attention and embeddings; 32 leaves them as they are. Routers and norms always stay.
        group: weights of a row that share a scale, at most.
    """

    experts: float = 8
    choices: tuple[int, ...] | None = None
    exponents: tuple[float, float, float] = (1.0, 1.0, 2.0)
    rest: int = 8
    group: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.experts <= MOST_BITS:
            raise ReshapeError(f"bits = {self.experts:g}: expected a number from 1 to {MOST_BITS}, bits of a weight")
        if not self.offered or any(not 1 <= width <= MOST_BITS for width in self.offered):
            raise ReshapeError(f"choices = {self.choices}: expected whole numbers from 1 to {MOST_BITS}, bits")
        if self.rest != 32 and not 1 <= self.rest <= MOST_BITS:
            raise ReshapeError(f"rest_bits = {self.rest}: expected a whole number from 1 to {MOST_BITS}, or 32")
        if self.group < 1:
            raise ReshapeError(f"group = {self.group}: expected at least one weight to a scale")
        if self.shared_out and not min(self.offered) <= self.experts <= max(self.offered):
            raise ReshapeError(
                f"bits = {self.experts:g}: expected {min(self.offered)} to {max(self.offered)}, the widths shared out"
            )

    @property
    def shared_out(self) -> bool:
        """Whether experts get bits by their importance."""
        return self.choices is not None or self.experts != int(self.experts)

    @property
    def offered(self) -> tuple[int, ...]:
        """The widths that are shared out."""
        return (1, 2, 3) if self.choices is None else self.choices


@dataclass(frozen=True)
class Compressed:
    """A model in few bits.

    Attributes:
        model: with the numbers that the bits stand for, in fp32: it decodes and trains like any other.
        packed: name of a tensor in the OLMoE layout -> its bits; ``save_checkpoint`` takes them.
        bits_LE: bits of each expert of each layer; no rows for a dense model.
    """

    model: Transformer
    packed: Mapping[str, BitPlanes] = field(repr=False)
    bits_LE: NDArray[np.int64]

    @property
    def bytes(self) -> int:
        """Of all weights as ``save_checkpoint`` writes them: codes, scales, and what stays as it is."""
        return stored_bytes(self.model.config, self.packed)


def stored_bytes(config: ModelConfig, packed: Mapping[str, BitPlanes] | None = None) -> int:
    """Bytes of a model's weights in a checkpoint, exactly.

    Args:
        config: the architecture.
        packed: the tensors in few bits; the others have four bytes a weight.
    """
    packed = packed or {}
    sizes = ((slot.name, PLAIN_BYTES * int(np.prod(slot.shape))) for slot in slots(config))
    return sum(packed[name].bytes if name in packed else plain for name, plain in sizes)


def compress(model: Transformer, windows: Any = None, widths: Widths | None = None) -> Compressed:
    """Round a model's weights to few bits, symmetrically, a scale for each group of a row.

    With a mean width that is no whole number, or with ``Widths.choices``, each layer's bits are shared out among its
    experts so that the sum of phi^a w^b eps^c over the experts is least: phi how often an expert is chosen, w how much
    it then counts, eps how far the layer's output moves if it alone has so many bits. The best widths are
    found exactly.

    Args:
        model: a mixture, or a dense model with a whole number of bits; it is left as it is.
        windows: token ids of some text, sequences x (context + 1), on which experts are judged; not needed where all
            get the same bits. Take training text: validation text would be judged twice.
        widths: how many bits; 8 for everything by default.

    Returns:
        The compressed model.

    Raises:
        ReshapeError: bits that cannot be shared out, a dense model or no text to judge experts by.

    Source: Huang et al. 2024 (MC-MoE, arXiv 2410.06270), Sec. 3.2, with rounding to the nearest level in place of GPTQ.

    Example:
        >>> import torch, moelaws as ml
        >>> model = ml.Transformer(ml.ModelConfig(64, 16, 2, 2, 32, n_experts=4, top_k=2, context=16))
        >>> text = torch.randint(64, (8, 17), generator=torch.Generator().manual_seed(0))
        >>> small = compress(model, text, Widths(experts=2.5, choices=(1, 2, 3, 4)))
        >>> [int(sum(layer)) for layer in small.bits_LE]
        [10, 10]
    """
    widths = widths or Widths()
    bits_LE = expert_bits(model, windows, widths)
    return with_bits(model, bits_LE, widths)


def expert_bits(model: Transformer, windows: Any, widths: Widths) -> NDArray[np.int64]:
    """Bits of each expert of each layer; no rows for a dense model."""
    if not widths.shared_out:
        layers = layers_with_experts(model) if model.config.is_moe else []
        return np.full((len(layers), model.config.n_experts), int(widths.experts), dtype=np.int64)
    if windows is None:
        raise ReshapeError(f"bits = {widths.experts:g}: no text to judge the experts by; expected windows of token ids")
    costs = importance(visits(model, torch.as_tensor(windows)), widths)
    return np.stack([spend_bits(costs_EJ, widths.offered, widths.experts) for costs_EJ in costs])


def importance(seen: Sequence[Visits], widths: Widths) -> list[NDArray[np.float64]]:
    """Cost of each expert of a layer at each of ``widths.offered``: phi^a w^b eps^c, E x J, one array a layer."""
    a, b, c = widths.exponents
    costs = []
    for each in seen:
        eps_EJ = damage(each, lambda expert, each=each: [  # type: ignore[misc]
            _expert_in_bits(each, expert, bits, widths.group) for bits in widths.offered
        ])  # fmt: skip
        phi_E, w_E = each.frequency_E, each.weight_E
        costs.append(((phi_E**a * w_E**b).unsqueeze(1) * eps_EJ**c).numpy())
    return costs


def with_bits(model: Transformer, bits_LE: NDArray[np.int64], widths: Widths) -> Compressed:
    """A copy of a model whose experts have these bits.

    Args:
        model: left as it is.
        bits_LE: of each expert of each layer; all of one number for a dense model, whose layers count as experts.
        widths: bits of the rest, and the groups.
    """
    require_layout(model.config)
    copied = Transformer(model.config)
    copied.load_state_dict({name: tensor.cpu() for name, tensor in model.state_dict().items()})
    packed = {}
    with torch.no_grad():
        for slot in slots(model.config):
            bits = _bits_of(slot, bits_LE, widths)
            if bits > MOST_BITS:
                continue
            view = slot.view(copied)
            planes = to_bit_planes(view.reshape(slot.shape), bits, widths.group)
            view.copy_(planes.matrix().reshape(view.shape))
            packed[slot.name] = planes
    return Compressed(copied, packed, bits_LE)


def require_layout(config: ModelConfig) -> None:
    """Refuse a model that the OLMoE layout has no place for: its bits could not be saved.

    Raises:
        ReshapeError: a field, by name.
    """
    for each in described(ModelConfig):
        value, place = getattr(config, each.name), each.place
        lost = place is not None and not place.key and value != place.absent
        if lost and (config.is_moe or each.name != "moe_every"):
            raise ReshapeError(f"{each.name} = {value}: the OLMoE layout has no place for it, so it is not compressed")


def _bits_of(slot: Slot, bits_LE: NDArray[np.int64], widths: Widths) -> int:
    """Bits of a tensor of the layout."""
    parts = slot.name.split(".")
    if "experts" in parts:
        if not len(bits_LE):
            return int(widths.experts)
        return int(bits_LE[int(parts[2]), int(parts[parts.index("experts") + 1])])
    return 32 if len(slot.shape) < 2 or parts[-2] == "gate" else widths.rest


def _expert_in_bits(seen: Visits, expert: int, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """The two matrices of an expert as so many bits give them back; rows as in the layout, where they are grouped."""
    w_in = to_bit_planes(seen.layer.w_in[expert].t(), bits, group).matrix().t()
    w_out = to_bit_planes(seen.layer.w_out[expert].t(), bits, group).matrix().t()
    return w_in, w_out
