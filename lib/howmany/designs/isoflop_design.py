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

# Dense, and three sparsities with one expert a token and with two of half the width.
_LITTLE = ((1, 1, 1), (4, 1, 1), (8, 2, 2))
_MUCH = ((16, 1, 1), (64, 1, 1), (32, 2, 2), (128, 2, 2))

PROGRAMS: dict[float, dict[tuple[int, int, int], tuple[int, ...]]] = {
    1e12: {experts: (24, 32, 40, 48, 64) for experts in (*_LITTLE, *_MUCH)},
    1e13: {
        experts: (48, 64, 80, 96, 112) if experts in _LITTLE else (40, 48, 64, 80, 96) for experts in (*_LITTLE, *_MUCH)
    },
    # Two widths about the best that the smaller budgets foresee, three at the ends.
    1e14: {
        (1, 1, 1): (128, 160, 192), (4, 1, 1): (128, 160), (16, 1, 1): (96, 128), (64, 1, 1): (80, 96, 128),
        (8, 2, 2): (128, 160), (32, 2, 2): (96, 128), (128, 2, 2): (80, 96, 128),
    },
    # Narrower models would read the text more than once.
    1e15: {experts: (256, 320) for experts in ((1, 1, 1), (16, 1, 1), (64, 1, 1), (32, 2, 2), (128, 2, 2))},
}  # fmt: skip
"""The isoFLOP study on program text: budget in FLOPs -> (E, K, G) -> widths. No run reads its text twice."""

PROGRAM_SEEDS = {1e12: 40, 1e13: 64, 1e14: 128}
"""Budget in FLOPs -> the width, near the best of all (E, K, G), whose runs are made with two more seeds."""

_OTHER_LITTLE = ((8, 2, 1), (8, 2, 4), (16, 4, 4))
_OTHER_MUCH = ((32, 2, 1), (32, 2, 4), (64, 4, 4))
_OTHER_MOST = ((128, 2, 1), (128, 2, 4), (256, 4, 4), (128, 1, 1), (256, 2, 2))

PROGRAM_DESIGNS: dict[float, dict[tuple[int, int, int], tuple[int, ...]]] = {
    budget: {experts: widths for group, widths in by_group for experts in group}
    for budget, by_group in {
        1e12: ((_OTHER_LITTLE, (32, 40, 48)), (_OTHER_MUCH, (32, 40, 48)), (_OTHER_MOST, (32, 40, 48))),
        1e13: ((_OTHER_LITTLE, (48, 64, 80)), (_OTHER_MUCH, (48, 64, 80)), (_OTHER_MOST, (40, 48, 64))),
        1e14: ((_OTHER_LITTLE, (128, 160)), (_OTHER_MUCH, (96, 128)), (_OTHER_MOST, (80, 96, 128))),
    }.items()
}
"""What ``PROGRAMS`` leaves out: K = 2 with G = 1 and G = 4, K = G = 4, and S = 127/128 with K = G = 1 and K = G = 2.
With it, five (K, G) at S = 3/4, 15/16, 63/64 and three budgets, on one text and one device."""


@dataclass(frozen=True)
class RepeatsDesign:
    """Runs at equal FLOPs that read ever less text ever more often.

    Attributes:
        budget: FLOPs.
        width: d.
        n_experts: E, with K = G = 1.
        epochs: how often the text is read.
        seeds: how many.
    """

    budget: float
    width: int
    n_experts: tuple[int, ...]
    epochs: tuple[int, ...]
    seeds: int


REPEATS = RepeatsDesign(3e12, 48, (1, 8, 64), (1, 2, 4, 8, 16), 2)


@dataclass(frozen=True)
class TuningDesign:
    """Learning rate times batch, as multiples of the recipe's.

    Attributes:
        widths: budget in FLOPs -> d.
        n_experts: E, with K = G = 1: activation ratios of 1 / E.
        rates: multiples of the learning rate.
        batches: multiples of the batch.
    """

    widths: dict[float, int]
    n_experts: tuple[int, ...]
    rates: tuple[float, ...]
    batches: tuple[float, ...]


TUNING = TuningDesign({3e11: 32, 1e12: 40}, (1, 4, 16, 64), (0.35, 0.7, 1.4, 2.8), (0.5, 1.0, 2.0))


@dataclass(frozen=True)
class UpcyclingDesign:
    """Mixtures grown from dense models.

    Attributes:
        width: d of the dense model.
        n_experts, top_k: of the mixture.
        sequences: in a batch, of every run.
        before: D1, tokens of the dense models.
        after: D2, tokens of what is grown from them.
        scratch: further tokens of mixtures from random weights.
        restart: learning rate of what is grown, over that of a dense run of D1 + D2 tokens.
        noise: of the copies, in two runs more a seed.
    """

    width: int
    n_experts: int
    top_k: int
    sequences: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    scratch: tuple[int, ...]
    restart: float
    noise: float


UPCYCLING = UpcyclingDesign(
    32, 8, 2, 8, before=(102_400, 307_200, 921_600), after=(61_440, 184_320, 552_960), scratch=(1_228_800,),
    restart=0.25, noise=0.5,
)  # fmt: skip
"""Of Liew et al. 2025, at our scale: D2 from a fifteenth of D1 to five times as much. Pilot runs at D1 = 614,400 chose
the restart: an eighth of the rate of a new run is best for D2 = 102,400, a half for 307,200."""


@dataclass(frozen=True)
class CompositionDesign:
    """A layer of experts cut ever finer at equal total and active parameters.

    Attributes:
        widths: budget in FLOPs -> d.
        active: experts that a token passes through, K; as many times narrower than the dense layer.
        shares: of the K that all tokens pass through.
        ratio: experts in all over K.
        seeds: how many.
    """

    widths: dict[float, int]
    active: tuple[int, ...]
    shares: tuple[float, ...]
    ratio: int
    seeds: int


COMPOSITION = CompositionDesign({1e11: 16, 3e11: 32}, (1, 2, 4, 8, 16), (0.0, 0.25, 0.5), 8, 3)


@dataclass(frozen=True)
class ShapesDesign:
    """Depth, heads and feed-forward width of mixtures.

    Attributes:
        budget: FLOPs.
        widths: d.
        layers: how many.
        head_channels: width of a head.
        feed_forward: d_ff over d.
        n_experts: E, with K = G = 1.
    """

    budget: float
    widths: tuple[int, ...]
    layers: tuple[int, ...]
    head_channels: tuple[int, ...]
    feed_forward: tuple[int, ...]
    n_experts: int


SHAPES = ShapesDesign(3e11, (24, 48), (2, 4, 8), (8, 24), (2, 4), 8)
