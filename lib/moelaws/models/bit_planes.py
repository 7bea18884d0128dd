"""Matrices in few bits: groups of a row share a scale, each weight is a code of 1 to 8 bits; packed as planes of bits.

A code c of b bits stands for (c - (2^b - 1) / 2) times the scale of its group: levels lie evenly and symmetrically
about zero, without zero itself. One bit is the sign times half the scale. A matrix of R rows and C columns takes
b ceil(R C / 8) bytes of codes and two bytes a group.

Shape suffixes: R rows, C columns, H groups of a row.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_BITS = 8
_CLIPS = torch.linspace(0.3, 1.0, 36)  # largest weight that a level stands for, over the largest of the group


@dataclass(frozen=True)
class BitPlanes:
    """A matrix in few bits.

    Attributes:
        planes: packed codes, bits x ceil(R C / 8), uint8: plane i holds bit i of every code, eight to a byte.
        scales_RH: distance of two levels in each group of a row, fp16; groups are as even as can be.
        columns: C.
    """

    planes: Tensor
    scales_RH: Tensor
    columns: int

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return len(self.planes)

    @property
    def bytes(self) -> int:
        """What it takes in a file: codes and scales."""
        return self.planes.numel() + 2 * self.scales_RH.numel()

    def matrix(self) -> Tensor:
        """The numbers that it stands for, R x C, fp32."""
        rows, count = len(self.scales_RH), len(self.scales_RH) * self.columns
        spread = (self.planes.unsqueeze(-1) >> torch.arange(8)) & 1
        codes = (spread.flatten(1)[:, :count].int() << torch.arange(self.bits).unsqueeze(1)).sum(0)
        scales_RC = self.scales_RH.float()[:, _groups(self.columns, self.scales_RH.shape[1])]
        return (codes.view(rows, self.columns) - _middle(self.bits)) * scales_RC


def to_bit_planes(weights_RC: Tensor, bits: int, group: int) -> BitPlanes:
    """Round a matrix to few bits, each group with the scale of the least squared error among those tried.

    Args:
        weights_RC: finite numbers.
        bits: 1 to 8.
        group: weights of a row that share a scale, at most.

    Raises:
        ValueError: a number of bits or a group that there cannot be.
    """
    if not 1 <= bits <= MOST_BITS:
        raise ValueError(f"bits = {bits}: expected a whole number from 1 to {MOST_BITS}")
    if group < 1:
        raise ValueError(f"group = {group}: expected at least one weight to a scale")
    weights_RC = weights_RC.detach().float().cpu()
    columns = weights_RC.shape[1]
    number = math.ceil(columns / group)
    of_C = _groups(columns, number)
    scales_RH = _scales(weights_RC, bits, of_C, number)
    codes_RC = _codes(weights_RC, scales_RH.float()[:, of_C], bits)
    planes = [_packed((codes_RC.flatten() >> bit) & 1) for bit in range(bits)]
    return BitPlanes(torch.stack(planes), scales_RH, columns)


def _scales(weights_RC: Tensor, bits: int, of_C: Tensor, number: int) -> Tensor:
    """The best scale of each group, in fp16."""

    def summed(values_RC: Tensor) -> Tensor:
        return torch.zeros(len(weights_RC), number).index_add_(1, of_C, values_RC)

    if bits == 1:  # the best two levels of all
        sizes = torch.zeros(number).index_add_(0, of_C, torch.ones(len(of_C)))
        return _half(2 * summed(weights_RC.abs()) / sizes)
    widest = torch.stack([weights_RC[:, of_C == group].abs().amax(1) for group in range(number)], dim=1)
    best, least = _half(widest / _middle(bits)), torch.full_like(widest, math.inf)
    for clip in _CLIPS:
        tried = _half(clip * widest / _middle(bits))
        scales_RC = tried.float()[:, of_C]
        levels = (_codes(weights_RC, scales_RC, bits) - _middle(bits)) * scales_RC
        error = summed((levels - weights_RC).square())
        best = torch.where(error < least, tried, best)
        least = torch.minimum(error, least)
    return best


def _codes(weights_RC: Tensor, scales_RC: Tensor, bits: int) -> Tensor:
    """Of each weight, the code of the nearest level."""
    steps = torch.where(scales_RC > 0, weights_RC / scales_RC, 0.0)
    return (steps + _middle(bits)).round().clamp(0, 2**bits - 1).to(torch.uint8)


def _half(scales: Tensor) -> Tensor:
    return scales.clamp(0, 6e4).half()


def _middle(bits: int) -> float:
    return (2**bits - 1) / 2


def _groups(columns: int, number: int) -> Tensor:
    """The group of each column."""
    return torch.arange(columns) * number // columns


def _packed(ones: Tensor) -> Tensor:
    """Bits, eight to a byte, the first the lowest."""
    padded = torch.nn.functional.pad(ones, (0, -len(ones) % 8)).view(-1, 8)
    return (padded << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8)
