"""Laws of which little is believed beforehand: sums of powers with a normal prior on each coordinate, weak on purpose.

In ln of size n, tokens d and others x, each less the middle of the design, every law is a sum of exponentials of linear
forms: a power law is one in n, a floor one in nothing, and a quadratic in the logs a single one of degree two. The
priors are no result of anybody's: a floor and two terms that share about four nats, exponents near .3, experts that
help a little, each within a factor or a spread that holds all published fits of language models. They are there so that
a design can be made from nothing, and so that eight runs do not move ten coefficients without end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

_MIDDLE = 4.1
"""Nats in the middle of a design, before any run is known; afterwards the runs' own mean."""
_FLOOR, _FLOOR_SPREAD = np.log(1.5), 0.7
_TERM, _TERM_SPREAD = np.log(1.3), 1.5
"""ln of the floor and of either term in the middle. The spread of the terms is a factor of 4.5: with one of 2, a design
stays with the cheapest runs, sure of an amplitude that nothing but the prior has told it."""
_EXPONENT, _EXPONENT_SPREAD = 0.3, 0.15
_EXPERTS, _EXPERTS_SPREAD = 0.02, 0.05
_READING, _READING_SPREAD = 0.1, 0.1
"""How much more a larger model makes of a token, as a power of its size."""
_CROSSED = 0.02
_LEVEL_SPREAD, _SLOPE, _SLOPE_SPREAD = 0.7, 0.1, 0.07
_BEND, _BEND_SPREAD, _TWIST, _OTHER_BEND = 0.015, 0.015, 0.005, 0.008
_LARGEST = 30.0

Term = tuple[tuple[int, ...], float, float]
"""The variables whose product it is, mean and spread of its coefficient."""


@dataclass(frozen=True, eq=False)
class WeakLaw:
    """A law with its prior.

    Attributes:
        name: what it is called.
        exponentials: of each exponential, its terms.
    """

    name: str
    exponentials: tuple[tuple[Term, ...], ...]

    @property
    def mean(self) -> np.ndarray:
        """Of the prior, [P]."""
        return np.array([mean for terms in self.exponentials for _, mean, _ in terms])

    @property
    def spread(self) -> np.ndarray:
        """Standard deviations of the prior, [P]."""
        return np.array([spread for terms in self.exponentials for _, _, spread in terms])

    def moved(self, shift: float) -> "WeakLaw":
        """The law for losses that are exp(shift) times as large."""
        return WeakLaw(
            self.name,
            tuple(
                tuple((of, mean + shift * (not of), spread) for of, mean, spread in terms)
                for terms in self.exponentials
            ),
        )

    def features(self, logs: np.ndarray) -> list[np.ndarray]:
        """What each exponential is linear in, at runs [n, variables]: of each, [n, terms]."""
        return [
            np.column_stack([np.prod(logs[:, list(of)], axis=1) for of, _, _ in terms]) for terms in self.exponentials
        ]

    def value(self, theta: np.ndarray, logs: np.ndarray) -> np.ndarray:
        """ln L at runs, [n]."""
        return np.log(sum(self._parts(theta, self.features(logs))))

    def slopes(self, theta: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln L at runs, [n], and its slopes by the coefficients, [P, n]."""
        features = self.features(logs)
        parts = self._parts(theta, features)
        total = sum(parts)
        slopes = [each.T * (part / total) for each, part in zip(features, parts, strict=True)]
        return np.log(total), np.concatenate(slopes)

    def _parts(self, theta: np.ndarray, features: list[np.ndarray]) -> list[np.ndarray]:
        ends = np.cumsum([each.shape[1] for each in features])[:-1]
        exponents = (each @ part for each, part in zip(features, np.split(theta, ends), strict=True))
        return [np.exp(np.clip(exponent, -_LARGEST, _LARGEST)) for exponent in exponents]


def weak_laws(extras: int) -> tuple[WeakLaw, ...]:
    """The laws that a forecast is the mean of; the first is the one that runs are chosen by.

    Args:
        extras: variables beside size and tokens.

    Returns:
        A law in which a larger model makes more of a token, one in which experts change the exponent of size, one
        without either (Hoffmann et al. 2022, with experts), and a quadratic in the logs.
    """
    others = range(2, 2 + extras)
    floor: tuple[Term, ...] = (((), _FLOOR, _FLOOR_SPREAD),)
    size: tuple[Term, ...] = (
        ((), _TERM, _TERM_SPREAD),
        ((0,), -_EXPONENT, _EXPONENT_SPREAD),
        *(((j,), -_EXPERTS, _EXPERTS_SPREAD) for j in others),
    )
    data: tuple[Term, ...] = (((), _TERM, _TERM_SPREAD), ((1,), -_EXPONENT, _EXPONENT_SPREAD))
    read: tuple[Term, ...] = tuple(((j,), _EXPERTS, _EXPERTS_SPREAD) for j in others)
    crossed: tuple[Term, ...] = tuple(((0, j), 0.0, _CROSSED) for j in others)
    return (
        WeakLaw("growing", (floor, size, (*data, ((0,), _READING, _READING_SPREAD), *read))),
        WeakLaw("interacting", (floor, size + crossed, data + read)),
        WeakLaw("separable", (floor, size, data)),
        WeakLaw("quadratic", (_quadratic(list(others)),)),
    )


def _quadratic(others: Sequence[int]) -> tuple[Term, ...]:
    bends = {(0, 0): (_BEND, _BEND_SPREAD), (1, 1): (_BEND, _BEND_SPREAD), (0, 1): (-_TWIST, _BEND_SPREAD)}
    return (
        ((), np.log(_MIDDLE), _LEVEL_SPREAD),
        ((0,), -_SLOPE, _SLOPE_SPREAD),
        ((1,), -_SLOPE, _SLOPE_SPREAD),
        *(((j,), -_EXPERTS / 2, 0.6 * _EXPERTS_SPREAD) for j in others),
        *((pair, *bends.get(pair, (0.0, _OTHER_BEND))) for pair in combinations_with_replacement((0, 1, *others), 2)),
    )


def shift_of(logs_of_losses: np.ndarray) -> float:
    """By how much a prior is to be moved to be about losses of this size."""
    return float(np.mean(logs_of_losses) - np.log(_MIDDLE)) if len(logs_of_losses) else 0.0
