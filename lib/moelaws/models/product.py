"""Matrix products on the CPU, by oneDNN where torch has it, and linear maps built on them.

Torch multiplies fp32 matrices on the CPU with MKL, which on processors of other makers than Intel's leaves half of
the vector unit idle; oneDNN, which torch carries too, does not. ``benchmarks/train_speed.py`` prints both.

The layers of this package have three forms. The plain one is ordinary torch; it is the definition, and what a GPU
runs. On one thread of a CPU they are compiled (``compiled_layers``), where numba can be had. With several threads, or
without numba, they are autograd functions with a backward pass of their own: fewer passes over memory than the plain
ones, and these products. Tests hold all of them equal. ``on_cpu`` and ``compiles`` say which one runs.

Shape suffixes: R rows, K inputs, N outputs.
"""

import importlib.util
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor

# Below this many multiply-adds the 12 microseconds of a oneDNN call cost more than its speed saves.
_SMALL = 500_000

_onednn = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if torch.backends.mkldnn.is_available() and platform.machine() in ("x86_64", "AMD64")
    else None
)
_plain: ContextVar[bool] = ContextVar("plain", default=False)
_uncompiled: ContextVar[bool] = ContextVar("uncompiled", default=False)


def on_cpu(x: Tensor) -> bool:
    """Whether the CPU's forms of the layers apply to this tensor."""
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not _plain.get()


def compiles(x: Tensor) -> bool:
    """Whether the compiled forms of the layers apply to this tensor: fp32, on one thread of a CPU."""
    return (
        on_cpu(x)
        and x.dtype == torch.float32
        and torch.get_num_threads() == 1
        and not _uncompiled.get()
        and _has_numba()
    )


@cache
def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


@contextmanager
def uncompiled_layers() -> Iterator[None]:
    """Within this context nothing is compiled: layers run as they do with several threads, or without numba."""
    token = _uncompiled.set(True)
    try:
        yield
    finally:
        _uncompiled.reset(token)


@contextmanager
def plain_layers() -> Iterator[None]:
    """Within this context layers run in their plain form on the CPU, too: to compare, or to count with torch."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def product(x_RK: Tensor, w_NK: Tensor) -> Tensor:
    """x times the transpose of w, without gradient: R x N.

    Args:
        x_RK: rows; copied first if they are not contiguous.
        w_NK: weights, in any strides.
    """
    if _onednn is None or x_RK.dtype != torch.float32 or x_RK.numel() * w_NK.shape[0] < _SMALL:
        return torch.mm(x_RK, w_NK.t())
    return _onednn(x_RK, w_NK, None, "none", [], "")


def weight_gradient(gradient_RN: Tensor, x_RK: Tensor) -> Tensor:
    """Gradient of a weight matrix N x K: the sum over rows of gradient times input."""
    # oneDNN copies a transposed first factor, so the narrower one goes first.
    if gradient_RN.shape[1] <= x_RK.shape[1]:
        return product(gradient_RN.t(), x_RK.t())
    return product(x_RK.t(), gradient_RN.t()).t()


def linear(x_RK: Tensor, w_NK: Tensor) -> Tensor:
    """x times the transpose of w, with gradient.

    Args:
        x_RK: rows.
        w_NK: weights, one row an output.

    Returns:
        R x N.
    """
    if on_cpu(x_RK):
        return _Linear.apply(x_RK, w_NK)
    return torch.nn.functional.linear(x_RK, w_NK)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_RK: Tensor, w_NK: Tensor) -> Tensor:
        ctx.save_for_backward(x_RK, w_NK)
        return product(x_RK, w_NK)

    @staticmethod
    def backward(ctx: Any, gradient_RN: Tensor) -> tuple[Tensor, Tensor]:
        x_RK, w_NK = ctx.saved_tensors
        return product(gradient_RN, w_NK.t()), weight_gradient(gradient_RN, x_RK)
