"""The bits of compiled layers are those of their numbers: not of where arrays lie, of what lay there before, of who
compiled, or of what the thread does with the smallest numbers.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit, types
from torch import Tensor

from moelaws.config import ModelConfig
from moelaws.kernels import calls, compilation, residual
from moelaws.kernels.memory import floats
from moelaws.kernels.sums import dot, largest, summed
from moelaws.kernels.tiles import VECTOR
from moelaws.models import Transformer, compiled_layers
from moelaws.models.product import compiles

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = ModelConfig(vocab_size=50, d_model=16, n_layers=1, n_heads=2, d_ff=32, n_experts=4, top_k=2, context=20)
MODELS = {
    "experts": TINY,
    "dense": replace(TINY, n_experts=1, top_k=1),
    "odd": replace(TINY, d_model=20, d_ff=40, granularity=2, shared_experts=1),
    "wide": replace(TINY, d_model=64, n_heads=4, d_ff=24),
}
NEAR = 256
"""Bytes that the widest of a loop's versions writes at once: nearer to what is read, another version runs."""

Call = tuple[Any, tuple[Any, ...], frozenset[int]]
"""A kernel, its arguments before the call, and which of them it changed."""


def _bits(array: Tensor) -> bytes:
    return array.detach().numpy().tobytes()


def _calls(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The kernels of a step and of a validation, with what they were given."""
    seen: list[Call] = []

    def watched(kernel: Any, *arguments: Any) -> None:
        before = tuple(a.clone() if isinstance(a, Tensor) else a for a in arguments)
        calls.call(kernel, *arguments)
        changed = {i for i, a in enumerate(arguments) if isinstance(a, Tensor) and _bits(a) != _bits(before[i])}
        seen.append((kernel, before, frozenset(changed)))

    monkeypatch.setattr(compiled_layers, "call", watched)
    model, generator = Transformer(config), torch.Generator().manual_seed(1)
    with torch.no_grad():  # a gain of one hides in what order it is multiplied by
        for name, parameter in model.named_parameters():
            if name.endswith("gain"):
                parameter.uniform_(0.5, 1.5, generator=generator)
    ids = torch.randint(config.vocab_size, (2, config.context + 1), generator=generator)
    assert compiles(model.embedding)
    loss, routers = model.loss(ids[:, :-1], ids[:, 1:])
    (loss + sum(0.3 * router.load_balance + 0.2 * router.router_z for router in routers)).backward()
    model.token_losses(ids[:, :-1], ids[:, 1:])
    return seen


class _Arena:
    """Memory in which the arrays of a call are put where one wants them, in the midst of old numbers."""

    def __init__(self, call: Call) -> None:
        self.kernel, self.arguments, self._changed = call
        self.names = list(inspect.signature(self.kernel).parameters)
        self.arrays = [i for i, argument in enumerate(self.arguments) if isinstance(argument, Tensor)]
        self._room = 4 * NEAR + max(self._bytes(i) for i in self.arrays)
        self._memory = torch.empty((2 * len(self.arrays) + 2) * self._room, dtype=torch.uint8)
        self._begin = -self._memory.data_ptr() % 64

    def _bytes(self, number: int) -> int:
        return self.arguments[number].numel() * self.arguments[number].element_size()

    def run(self, moved: dict[int, int] | None = None, old: float = 0.0) -> dict[str, bytes]:
        """What the kernel writes, its working memory left out: bits by name of the argument.

        Args:
            moved: array -> where it begins, in bytes from the beginning of the first array's place.
            old: what all memory held before.
        """
        self._memory[self._begin % 8 :][: len(self._memory) // 8 * 8 - 8].view(torch.float32).fill_(old)
        placed = list(self.arguments)
        for place, i in enumerate(self.arrays):
            at = self._begin + (moved[i] if moved and i in moved else 2 * place * self._room) + self._room
            array = self._memory[at : at + self._bytes(i)].view(self.arguments[i].dtype).view(self.arguments[i].shape)
            if i not in self._changed:
                array.copy_(self.arguments[i])
            placed[i] = array
        calls.call(self.kernel, *placed)
        return {self.names[i]: _bits(placed[i]) for i in self.arrays if self.names[i] != "work"}

    def beside(self) -> Iterator[dict[int, int]]:
        """Each array a little behind each other one that is not far longer than what is written at once."""
        for place, i in enumerate(self.arrays):
            size = self._bytes(i)
            for j in self.arrays:
                step = self.arguments[j].element_size()
                for gap in (0, step, 3 * step, 64, 128):
                    if j != i and size + gap < 2 * NEAR:
                        yield {j: 2 * place * self._room + size + gap + -(size + gap) % step}


@pytest.mark.parametrize("name", MODELS)
def test_where_arrays_lie_changes_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0
    for call in _calls(MODELS[name], monkeypatch):
        arena = _Arena(call)
        expected = arena.run()
        for moved in arena.beside():
            assert arena.run(moved) == expected, (call[0], moved)
            tried += 1
        for shift in range(8, 64, 8):  # all of them off a cache line, and not by as much
            moved = {i: 2 * place * arena._room + shift * (1 + place % 3) for place, i in enumerate(arena.arrays)}
            assert arena.run(moved) == expected, (call[0], shift)
    assert tried > 100


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("old", [1e30, -1e-40, np.nan])
def test_what_lay_in_memory_before_changes_no_bit(name: str, old: float, monkeypatch: pytest.MonkeyPatch) -> None:
    for call in _calls(MODELS[name], monkeypatch):
        arena = _Arena(call)
        assert arena.run(old=old) == arena.run(), call[0]


def test_the_compiler_is_given_no_leave_to_reorder() -> None:
    """What LLVM may not do in one version of a loop, it does in none."""
    signature = calls._signature(residual.backward)
    code = compilation._made(residual.backward, signature, None).inspect_llvm()
    (text,) = code.values()
    arithmetic = re.findall(r"= (?:tail )?(?:call )?(?:fadd|fmul|fsub|fdiv|fcmp)\b(.*)", text)
    assert len(arithmetic) > 10
    assert not [line for line in arithmetic if re.search(r"\b(fast|reassoc|contract|arcp|nnan|ninf|nsz|afn)\b", line)]


@njit(types.Tuple((types.float32, types.float32, types.float32))(types.int64, types.int64, types.int64))
def _folded(x, y, count):  # type: ignore[no-untyped-def]
    x, y = floats(x), floats(y)
    return summed(x, 0, count), dot(x, 0, y, 0, count), largest(x, 0, count)


@pytest.mark.parametrize("count", [0, 1, 3, VECTOR - 1, VECTOR, VECTOR + 1, 4 * VECTOR, 5 * VECTOR + 3, 300])
def test_sums_of_rows_are_sums_in_an_order_of_their_own(count: int) -> None:
    rng = np.random.default_rng(count)
    memory = np.zeros(2 * count + 64, np.float32)
    x, y = rng.normal(size=(2, count)).astype(np.float32)
    found = set()
    for shift in (0, 1, 5):
        memory[shift : shift + count], memory[shift + count : shift + 2 * count] = x, y
        first = memory.ctypes.data + 4 * shift
        found.add(_folded(first, first + 4 * count, count))
    (numbers,) = found
    exact = x.astype(float).sum(), (x.astype(float) * y).sum()
    assert numbers[:2] == pytest.approx(exact, abs=1e-4)
    assert numbers[2] == (x.max() if count else np.float32(-3e38))
    # By lanes: four vectors at once, then one at a time, then what fills none.
    lanes, at = np.zeros((4, VECTOR), np.float32), 0
    for width in (4, 1):
        while at + width * VECTOR <= count:
            lanes[:width] += x[at : at + width * VECTOR].reshape(width, VECTOR)
            at += width * VECTOR
    last = np.float32(0)
    for number in x[at:]:
        last += number
    row = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
    while len(row) > 1:
        row = row[: len(row) // 2] + row[len(row) // 2 :]
    assert numbers[0] == row[0] + last
