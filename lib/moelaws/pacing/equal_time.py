"""Mixtures and dense models in equal FLOPs and in equal seconds on one device: isoFLOP and isoTIME."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from moelaws.config import ModelConfig
from moelaws.counting import count_parameters, training_flops_per_token
from moelaws.optimum.forecaster import Forecaster
from moelaws.pacing.step_model import StepError, StepModel

Array = NDArray[np.float64]

DENSE = 1
"""The entrant that the others are measured against: E of the dense model."""


@dataclass(frozen=True)
class Purse:
    """What each entrant of one race may spend.

    Attributes:
        flops: training FLOPs C.
        seconds: what the dense model that is best at C takes for them.
        batch: tokens of a step, for all entrants.
    """

    flops: float
    seconds: float
    batch: float


@dataclass(frozen=True)
class Lane:
    """One number of experts at every purse. Arrays are [1 + B, purses]: what is expected, then draws.

    Attributes:
        n_experts: E.
        by_flops, by_seconds: lowest loss in equal FLOPs, and in equal seconds, nats per token.
        size_by_flops, size_by_seconds: places of the best models in the entrant's list, [purses].
        worth_flops, worth_seconds: how many times the FLOPs, or the seconds, a dense model needs for that loss; nan
            where none of the purses is enough.
    """

    n_experts: int
    by_flops: Array
    by_seconds: Array
    size_by_flops: NDArray[np.int64]
    size_by_seconds: NDArray[np.int64]
    worth_flops: Array
    worth_seconds: Array


@dataclass(frozen=True)
class Race:
    """What sparsity buys on one device.

    Attributes:
        device: whose steps were counted.
        purses: in increasing order; the last ones, beyond ``asked``, are there to measure the others against.
        asked: how many of the first purses were asked about, after ``before`` ones that are there for the same.
        before: purses below those asked about.
        models: E -> the models that compete, in increasing size.
        lanes: E -> what they reach.
    """

    device: StepModel
    purses: tuple[Purse, ...]
    before: int
    asked: int
    models: Mapping[int, tuple[ModelConfig, ...]]
    lanes: Mapping[int, Lane] = field(repr=False)

    @property
    def within(self) -> slice:
        """The purses that were asked about."""
        return slice(self.before, self.before + self.asked)

    def break_even(self, by: str = "seconds") -> Array:
        """The most experts that are worth their price, 1 where none are; interpolated in ln E, [1 + B, purses asked].

        Args:
            by: ``seconds`` or ``flops``.
        """
        counts = np.log(sorted(self.lanes))
        worth = np.log(np.stack([getattr(self.lanes[e], f"worth_{by}")[:, self.within] for e in sorted(self.lanes)]))
        worth[0] = 0.0
        # A worth beyond all purses is large, not unknown.
        worth = np.where(np.isnan(worth), np.inf, worth)
        good = worth >= 0
        last = len(counts) - 1 - np.argmax(good[::-1], axis=0)
        after = np.minimum(last + 1, len(counts) - 1)
        high, low = (np.take_along_axis(worth, each[None], 0)[0] for each in (last, after))
        with np.errstate(invalid="ignore"):
            share = np.where((last < after) & np.isfinite(high), high / np.maximum(high - low, 1e-12), 0.0)
        found: Array = np.exp(counts[last] + share * (counts[after] - counts[last]))
        return np.where((last == 0) & (share <= 0), 1.0, found)

    def best_experts(self, by: str = "seconds") -> Array:
        """The number of experts with the lowest loss, [1 + B, purses asked].

        Args:
            by: ``seconds`` or ``flops``.
        """
        counts = np.array(sorted(self.lanes))
        losses = np.stack([getattr(self.lanes[int(e)], f"by_{by}")[:, self.within] for e in counts])
        return counts[np.argmin(losses, axis=0)].astype(float)


def race(
    law: Forecaster,
    device: StepModel,
    models: Mapping[int, Sequence[ModelConfig]],
    budgets: Sequence[float],
    batch: Callable[[float], float],
    seed: int = 0,
) -> Race:
    """Let mixtures and dense models spend the same FLOPs, then the same seconds, each at its best size.

    The seconds of a purse are those that the dense model which is best at its FLOPs takes. A law's draws carry its own
    doubt; each number of experts, and each draw, has its own error of the step times (``StepModel.scatter``).

    Args:
        law: of the loss, which must know what distinguishes the models.
        device: its step times.
        models: E -> models of rising size; with ``1``, the dense ones.
        budgets: training FLOPs, increasing.
        batch: tokens of a step at a budget.
        seed: of the draws of step times.

    Raises:
        StepError: no dense models, or budgets that do not rise.

    Examples:
        >>> import moelaws as ml
        >>> models = {e: [ml.tiny_model(d, e) for d in range(512, 8192, 512)] for e in (1, 8)}
        >>> found = race(ml.Forecaster("abnar2025"), ml.step_model("h200"), models, [1e19, 1e20], lambda flops: 1e6)
        >>> bool((found.lanes[8].by_flops < found.lanes[1].by_flops).all())
        True
    """
    if DENSE not in models or np.any(np.diff(budgets) <= 0):
        raise StepError("a race needs dense models (E = 1) and budgets that rise")
    fields = {e: tuple(each) for e, each in sorted(models.items())}
    grid, before = _with_room(budgets)
    purses = tuple(_purse(law, device, fields[DENSE], flops, batch(flops)) for flops in grid)
    flops, seconds = (np.array([getattr(each, name) for each in purses]) for name in ("flops", "seconds"))
    rng = np.random.default_rng(seed)
    by_flops, by_seconds, sizes = {}, {}, {}
    for e, entrants in fields.items():
        per_token = np.array([training_flops_per_token(model) for model in entrants], float)
        pace = np.array([[device.seconds(model, p.batch) / p.batch for model in entrants] for p in purses])
        by_flops[e], one = _lowest(spent_losses(law, entrants, flops[:, None] / per_token))
        exact, other = _lowest(spent_losses(law, entrants, seconds[:, None] / pace))
        sizes[e] = (one, other)
        error = np.concatenate([[0.0], device.scatter * rng.standard_normal(len(exact) - 1)])
        by_seconds[e] = _at(np.log(seconds), exact, np.log(seconds) - error[:, None])
    lanes = {
        e: Lane(
            e, by_flops[e], by_seconds[e], *sizes[e],
            worth_flops=_needed(np.log(flops), by_flops[DENSE], by_flops[e]) / flops,
            worth_seconds=_needed(np.log(seconds), by_seconds[DENSE], by_seconds[e]) / seconds,
        )
        for e in fields
    }  # fmt: skip
    return Race(device, purses, before, len(budgets), fields, lanes)


def _with_room(budgets: Sequence[float]) -> tuple[Array, int]:
    """The budgets, and others below and above them, for a dense model to need less or more."""
    few, many = np.array([0.2, 0.35, 0.6]), np.array([1.7, 3.0, 5.0, 9.0])
    return np.concatenate([few * budgets[0], budgets, many * budgets[-1]]), len(few)


def _purse(law: Forecaster, device: StepModel, dense: Sequence[ModelConfig], flops: float, batch: float) -> Purse:
    tokens = flops / np.array([[training_flops_per_token(model) for model in dense]], float)
    best = int(np.argmin(spent_losses(law, dense, tokens)[0, 0]))
    return Purse(float(flops), float(tokens[0, best] / batch * device.seconds(dense[best], batch)), batch)


def spent_losses(law: Forecaster, models: Sequence[ModelConfig], tokens: Array) -> Array:
    """The loss that a law expects of models after so many tokens, and after it its draws.

    Args:
        law: the law.
        models: the models.
        tokens: of training, [purses, models].

    Returns:
        Nats per token, [1 + B, purses, models].
    """
    counts = [count_parameters(model) for model in models]
    each = {
        "total_params": [n.total for n in counts], "active_params": [n.active for n in counts],
        "n_experts": [m.n_experts for m in models], "top_k": [m.top_k for m in models],
        "granularity": [m.granularity for m in models], "sparsity": [m.sparsity for m in models],
        "activation_ratio": [m.top_k / m.n_experts for m in models], "d_model": [m.d_model for m in models],
        "dense_params": [count_parameters(_dense(m)).total for m in models],
    }  # fmt: skip
    columns = {name: np.broadcast_to(np.array(values, float), tokens.shape).ravel() for name, values in each.items()}
    per_token = np.array([training_flops_per_token(model) for model in models], float)
    columns |= {"tokens": tokens.ravel(), "train_flops": (tokens * per_token).ravel()}
    columns = {name: values[None] for name, values in columns.items()}
    loss = np.asarray(law.law.predict(law.rows(), columns), float)
    if law.error is not None:
        loss = loss * np.exp(law.error.shift(columns))
    return np.broadcast_to(loss, (law.count, tokens.size)).reshape(law.count, *tokens.shape)


def _dense(model: ModelConfig) -> ModelConfig:
    return replace(model, n_experts=1, top_k=1, granularity=1)


def _lowest(losses: Array) -> tuple[Array, NDArray[np.int64]]:
    """Lowest loss over the models in every draw, and the place of the one expected to be best."""
    return losses.min(axis=-1), np.argmin(losses[0], axis=-1)


def _at(x: Array, curves: Array, asked: Array) -> Array:
    """Curves [1 + B, purses] over x, each at its own places [1 + B, purses]; straight beyond the ends."""
    rows = []
    for curve, places in zip(curves, asked, strict=True):
        inside = np.interp(places, x, curve)
        first, last = (curve[1] - curve[0]) / (x[1] - x[0]), (curve[-1] - curve[-2]) / (x[-1] - x[-2])
        rows.append(inside + np.minimum(places - x[0], 0) * first + np.maximum(places - x[-1], 0) * last)
    return np.array(rows)


def _needed(x: Array, falling: Array, target: Array) -> Array:
    """exp of the least x at which each falling curve reaches its targets; nan where it does not, [1 + B, purses]."""
    found = []
    for curve, wanted in zip(falling, target, strict=True):
        down = np.minimum.accumulate(curve)
        place = np.interp(-wanted, -down, x, left=x[0], right=np.nan)
        found.append(np.exp(place))
    return np.array(found)
