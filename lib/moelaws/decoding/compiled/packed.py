"""The weights of a model in one piece of memory, in the order in which compiled decoding reads them.

A matrix K x N becomes panels of ``PANEL`` columns, each K x PANEL without a gap, and for the columns left over panels
of one vector, the last filled up with zeros: whatever is read next lies next.

Shape suffixes: D model width, F hidden width of an expert, E experts, V vocabulary, K inputs, N outputs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from moelaws.allocator import in_large_pages
from moelaws.decoding.compiled.places import (
    BIAS,
    EXPERTS,
    HIDDEN,
    HIDDEN_STEP,
    N_EXPERTS,
    OUT,
    PLAN_FIELDS,
    QK_GAIN,
    QKV,
    ROUTER,
    SHARED,
    SHARED_HIDDEN,
    SHARED_STEP,
    STRIDE,
)
from moelaws.kernels.tiles import PANEL, VECTOR
from moelaws.models import ExpertsLayer, Transformer

LINE = 16  # numbers in a cache line of 64 bytes, where every matrix begins


@dataclass(frozen=True)
class Packed:
    """A model's weights.

    Attributes:
        weights: all of them.
        plan: where each part begins, a row of ``places.PLAN`` a layer.
        embedding: where V x D, unpacked, begins.
        shift_gain: where the gain of the token shift begins, or -1.
        unembedding: where D x V begins.
    """

    weights: NDArray[np.float32]
    plan: NDArray[np.int64]
    embedding: int
    shift_gain: int
    unembedding: int


def padded(columns: int) -> int:
    """Columns of a packed matrix: a whole number of vectors."""
    return -(-columns // VECTOR) * VECTOR


def panels(weight_KN: torch.Tensor) -> torch.Tensor:
    """A matrix, panel after panel, flat."""
    depth, columns = weight_KN.shape
    full = columns // PANEL * PANEL
    weight_KN = torch.nn.functional.pad(weight_KN, (0, padded(columns) - columns))
    wide = weight_KN[:, :full].reshape(depth, -1, PANEL).transpose(0, 1)
    narrow = weight_KN[:, full:].reshape(depth, -1, VECTOR).transpose(0, 1)
    return torch.cat((wide.flatten(), narrow.flatten()))


class _Memory:
    """Parts put behind each other, each at the beginning of a cache line."""

    def __init__(self) -> None:
        self._parts: list[torch.Tensor] = []
        self.length = 0

    def add(self, part: torch.Tensor) -> int:
        """Put a part in; returns where."""
        begin = self.length
        flat = torch.nn.functional.pad(part.detach().float().flatten(), (0, -part.numel() % LINE))
        self._parts.append(flat)
        self.length += len(flat)
        return begin

    def joined(self) -> NDArray[np.float32]:
        """All parts; memory of its own, so that no part is left."""
        whole = torch.from_numpy(np.frombuffer(in_large_pages(4 * self.length), np.float32))
        begin = 0
        while self._parts:
            part = self._parts.pop(0)
            whole[begin : begin + len(part)] = part
            begin += len(part)
        return whole.numpy()


@torch.no_grad()
def pack(model: Transformer) -> Packed:
    """Lay a model's weights out; the gain of the norm before a matrix becomes part of the matrix."""
    memory = _Memory()
    plan = np.full((model.config.n_layers, PLAN_FIELDS), -1, dtype=np.int64)
    embedding = memory.add(model.embedding)
    shift_gain = -1 if model.shift is None else memory.add(model.shift.gain)
    for row, block in zip(plan, model.blocks, strict=True):
        _pack_block(memory, row, block)
    unembedding = memory.add(panels((model.output_weight * model.final_norm.gain).t()))
    return Packed(memory.joined(), plan, embedding, shift_gain, unembedding)


def _pack_block(memory: _Memory, row: NDArray[np.int64], block: Any) -> None:
    attention, experts, gain_D = block.attention, block.experts, block.experts_norm.gain
    row[QKV] = memory.add(panels((attention.w_qkv * block.attention_norm.gain).t()))
    if attention.q_norm is not None:
        row[QK_GAIN] = memory.add(torch.cat((attention.q_norm.gain, attention.k_norm.gain)))
    row[OUT] = memory.add(panels(attention.w_out.t()))
    if isinstance(experts, ExpertsLayer):
        row[ROUTER] = memory.add(panels((experts.router * gain_D).t()))
        if bool(experts.balance_bias.any()):
            row[BIAS] = memory.add(experts.balance_bias)
        if experts.shared is not None:
            row[SHARED_HIDDEN] = experts.shared.w_out.shape[1]
            row[SHARED_STEP] = padded(int(row[SHARED_HIDDEN]))
            row[SHARED] = _pack_experts(memory, experts.shared, gain_D)[0]
    row[N_EXPERTS], row[HIDDEN] = experts.w_out.shape[:2]
    row[HIDDEN_STEP] = padded(int(row[HIDDEN]))
    begins = _pack_experts(memory, experts, gain_D)
    row[EXPERTS], row[STRIDE] = begins[0], begins[1] - begins[0] if len(begins) > 1 else 0


def _pack_experts(memory: _Memory, experts: Any, gain_D: torch.Tensor) -> list[int]:
    """Where each expert begins."""
    begins = []
    for w_in_DN, w_out_FD in zip(experts.w_in, experts.w_out, strict=True):
        gate_DF, up_DF = (w_in_DN * gain_D[:, None]).chunk(2, dim=1)
        begins.append(memory.add(torch.cat((panels(gate_DF), panels(up_DF), panels(w_out_FD)))))
    return begins
