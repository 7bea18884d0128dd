"""One weight made ready for decoding: laid out twice, for products with a few rows and with many.

Shape suffixes: R rows, K inputs, N outputs.
"""

import platform
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Below this many multiply-adds the 12 microseconds of a oneDNN call cost more than its speed saves.
_SMALL = 500_000

_multiply: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_pack: Any = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
_has_onednn = (
    torch.backends.mkldnn.is_available()
    and platform.machine() in ("x86_64", "AMD64")
    and _multiply is not None
    and _pack is not None
)


@dataclass(frozen=True)
class Matrix:
    """A weight, for products without gradient.

    A product of few rows is torch's own: it costs the least to call. For more rows on a CPU it is oneDNN's, from a
    second copy in the layout that its kernels read; plain weights would be brought into that layout in every step.
    oneDNN takes some tenths of a millisecond to prepare a kernel for a number of rows that it has not met.

    Attributes:
        plain_KN: the weight.
        packed: oneDNN's copy, or ``None``.
        many: number of rows from which that one is used.
    """

    plain_KN: Tensor
    packed: Tensor | None
    many: int

    def times(self, x_RK: Tensor) -> Tensor:
        """x times the weight: R x N."""
        if self.packed is None or len(x_RK) < self.many:
            return torch.mm(x_RK, self.plain_KN)
        product: Tensor = _multiply(x_RK, self.packed, None, "none", [], "")
        return product

    def times_into(self, x_RK: Tensor, out_RN: Tensor) -> None:
        """The same, into memory that is there."""
        if self.packed is None or len(x_RK) < self.many:
            torch.mm(x_RK, self.plain_KN, out=out_RN)
        else:
            out_RN.copy_(_multiply(x_RK, self.packed, None, "none", [], ""))


def matrix(weight_KN: Tensor) -> Matrix:
    """Make a weight ready.

    Args:
        weight_KN: fp32, in any strides; kept as it is where it is contiguous.
    """
    many = -(-_SMALL // weight_KN.numel())
    packed = _pack(weight_KN.t().contiguous(), many) if _has_onednn and weight_KN.device.type == "cpu" else None
    return Matrix(weight_KN.contiguous(), packed, many)
