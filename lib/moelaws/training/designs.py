"""The designs of the isoFLOP studies: which widths, numbers of experts and seeds stand at each budget."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from moelaws.config import ModelConfig


@dataclass(frozen=True)
class Design:
    """What a budget of the study holds.

    Attributes:
        widths: d, so placed that the best lies inside at every E.
        replicated: the widths near the best, which are run with several seeds.
        seeds: how many.
        n_experts: E.
    """

    widths: tuple[int, ...]
    replicated: tuple[int, ...]
    seeds: int
    n_experts: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)

    def runs(self, family: Callable[[int, int], ModelConfig]) -> Iterator[tuple[ModelConfig, int]]:
        """Models of a family (a function of d and E), each with every seed it is trained with."""
        for n_experts in self.n_experts:
            for width in self.widths:
                for seed in range(self.seeds if width in self.replicated else 1):
                    yield family(width, n_experts), seed


STUDY = {
    1e11: Design((8, 12, 16, 20, 24, 32, 40), (16, 24), 4),
    3e11: Design((12, 16, 20, 24, 32, 40, 48), (24, 32), 4),
    1e12: Design((16, 24, 32, 40, 48, 64), (32, 40), 3),
    3e12: Design((24, 32, 40, 48, 64, 80), (48,), 3),
    1e13: Design((40, 48, 64, 80, 96, 112), (), 1, (1, 4, 16, 64)),
}
"""On real text, by budget in FLOPs; the last budget is held out."""

SYNTHETIC = {
    1.2e10: Design((8, 12, 16, 24, 32, 40), (24,), 3),
    3.6e10: Design((12, 16, 24, 32, 40, 48), (24,), 3),
    1.08e11: Design((16, 24, 32, 40, 48, 64), (32,), 3),
    3.24e11: Design((24, 32, 40, 48, 64, 80), (40,), 3),
    9.7e11: Design((24, 32, 40, 48, 64, 80, 96), (), 1, (1, 4, 16, 64)),
}
"""On the synthetic language, whose entropy is known."""


@dataclass(frozen=True)
class FinerDesign:
    """What a budget of the sweep of finer experts holds; every cell has two seeds.

    Attributes:
        widths: d.
        experts: (E, K, G).
    """

    widths: tuple[int, ...]
    experts: tuple[tuple[int, int, int], ...]


def _at_equal_sparsity(top_k: int, *n_experts: int) -> tuple[tuple[int, int, int], ...]:
    """K = G: as many parameters, and as much work, as K = G = 1 at the same sparsity."""
    return tuple((experts, top_k, top_k) for experts in n_experts)


# Up to S = 127/128. K = G = 1 has its other numbers of experts in the study.
_FINER = ((128, 1, 1), *_at_equal_sparsity(2, 8, 32, 128, 256), *_at_equal_sparsity(4, 16, 64, 256, 512))

FINER = {
    1e12: FinerDesign((32, 40, 48), _FINER),
    3e12: FinerDesign((40, 48, 64), _FINER),
    # d = 48 would read its text 1.1 times.
    1e13: FinerDesign((56, 64, 80), _at_equal_sparsity(2, 8, 32, 128)),
}
"""Finer experts on real text, by budget in FLOPs."""
