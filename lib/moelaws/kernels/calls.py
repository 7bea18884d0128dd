"""Calling the kernels with tensors: addresses in, nothing out."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from moelaws.kernels import mixing, networks, next_token, residual, softmax_router
from moelaws.kernels.compilation import compiled

_KERNELS = (
    residual.forward, residual.backward, mixing.forward, mixing.backward, networks.forward, networks.backward,
    networks.moves, softmax_router.forward, softmax_router.backward, next_token.losses_and_slopes,
)  # fmt: skip
_FRACTIONS = {"epsilon", "by_balance", "by_z"}  # what is neither an address nor a whole number


def call(kernel: Callable[..., None], *arguments: Any) -> None:
    """Run a kernel; all of them are compiled first where they have not been on this machine.

    Args:
        kernel: a function of addresses and numbers.
        arguments: contiguous tensors, ``None`` for an address that is not given, and numbers.
    """
    _ready()[kernel](*[a if isinstance(a, int | float) else 0 if a is None else a.data_ptr() for a in arguments])


@cache
def _ready() -> dict[Callable[..., None], Callable[..., Any]]:
    return compiled({kernel: _signature(kernel) for kernel in _KERNELS}, "the training step")


def _signature(kernel: Callable[..., None]) -> str:
    kinds = ("float64" if name in _FRACTIONS else "int64" for name in inspect.signature(kernel).parameters)
    return f"({', '.join(kinds)})"
