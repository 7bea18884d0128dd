"""Width and depth by size: h l = mu N^(2/3), fitted to public models (Yun et al. 2024, Sec. 4 and Fig. 8)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class PublicModel:
    """A dense public model with a full cache (as many key heads as query heads).

    Attributes:
        name: its name.
        params: N.
        layers: l.
        width: h.
        source: where its shape was published.
    """

    name: str
    params: float
    layers: int
    width: int
    source: str


_LLAMA, _PYTHIA, _OPT = (
    "Touvron et al. 2023 (arXiv 2302.13971), Table 2",
    "Biderman et al. 2023 (arXiv 2304.01373), Table 1",
    "Zhang et al. 2022 (arXiv 2205.01068), Table 1",
)

PUBLIC_MODELS = (
    PublicModel("llama-7b", 6.7e9, 32, 4096, _LLAMA),
    PublicModel("llama-13b", 13.0e9, 40, 5120, _LLAMA),
    PublicModel("llama-33b", 32.5e9, 60, 6656, _LLAMA),
    PublicModel("llama-65b", 65.2e9, 80, 8192, _LLAMA),
    PublicModel("pythia-410m", 405e6, 24, 1024, _PYTHIA),
    PublicModel("pythia-1b", 1.01e9, 16, 2048, _PYTHIA),
    PublicModel("pythia-1.4b", 1.41e9, 24, 2048, _PYTHIA),
    PublicModel("pythia-2.8b", 2.78e9, 32, 2560, _PYTHIA),
    PublicModel("pythia-6.9b", 6.86e9, 32, 4096, _PYTHIA),
    PublicModel("pythia-12b", 11.8e9, 36, 5120, _PYTHIA),
    PublicModel("opt-1.3b", 1.3e9, 24, 2048, _OPT),
    PublicModel("opt-2.7b", 2.7e9, 32, 2560, _OPT),
    PublicModel("opt-6.7b", 6.7e9, 32, 4096, _OPT),
    PublicModel("opt-13b", 13.0e9, 40, 5120, _OPT),
    PublicModel("opt-30b", 30.0e9, 48, 7168, _OPT),
    PublicModel("opt-66b", 66.0e9, 64, 9216, _OPT),
)
"""Shapes as their papers print them; the same rows are in data/published/model_shapes.csv."""


@dataclass(frozen=True)
class ShapeRule:
    """Width times depth, h l = mu N^(2/3), and their ratio.

    Attributes:
        mu: the constant, which Yun et al. do not print.
        aspect: h / l.
    """

    mu: float
    aspect: float

    def cached(self, params: Array) -> Array:
        """h l of a dense model of N parameters; a token of context caches twice that."""
        return self.mu * np.asarray(params, float) ** (2 / 3)

    def width(self, params: Array) -> Array:
        """h."""
        return np.sqrt(self.cached(params) * self.aspect)

    def layers(self, params: Array) -> Array:
        """l; need not be whole."""
        return np.sqrt(self.cached(params) / self.aspect)


@dataclass(frozen=True)
class ShapeFit:
    """A fitted rule and how well it holds.

    Attributes:
        rule: least squares in ln(h l) with the exponent held at 2/3, and the median h / l.
        exponent: what the exponent would be if it were fitted too.
        spread: standard deviation of ln(h l) around the rule.
    """

    rule: ShapeRule
    exponent: float
    spread: float


def fit_shape(models: Iterable[PublicModel] = PUBLIC_MODELS) -> ShapeFit:
    """Fit h l = mu N^(2/3) to models' published shapes.

    Raises:
        ValueError: fewer than two models.
    """
    rows = list(models)
    if len(rows) < 2:
        raise ValueError(f"a shape rule needs at least two models, found {len(rows)}")
    size = np.log([m.params for m in rows])
    product = np.log([m.layers * m.width for m in rows])
    log_mu = float(np.mean(product - 2 / 3 * size))
    return ShapeFit(
        rule=ShapeRule(float(np.exp(log_mu)), float(np.median([m.width / m.layers for m in rows]))),
        exponent=float(np.polyfit(size, product, 1)[0]),
        spread=float(np.std(product - 2 / 3 * size - log_mu, ddof=1)),
    )


SHAPE = fit_shape().rule
"""The rule of the public models."""
