"""Tables of runs of equal budget whose optimum is known: Hoffmann et al.'s form, with noise."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

SPARSITIES = (0.0, 0.5, 0.75, 0.875, 0.9375, 0.96875, 0.984375)


@dataclass(frozen=True)
class Nature:
    """Loss = floor + a / (N (1 - S)^capacity)^alpha + b / D^beta, with N_a = N (1 - S)^active and D = C / (6 N_a)."""

    floor: float = 1.69
    a: float = 406.4
    b: float = 410.7
    alpha: float = 0.34
    beta: float = 0.28
    active: float = 0.9
    capacity: float = 0.6

    def loss(self, n, budget, sparsity=0.0):
        """Loss in nats per token at ``n`` total parameters."""
        tokens = budget / (6 * n * (1 - sparsity) ** self.active)
        held = n * (1 - sparsity) ** self.capacity
        return self.floor + self.a / held**self.alpha + self.b / tokens**self.beta

    def optimum(self, budget, sparsity=0.0):
        """The best size and the loss there."""
        found = minimize_scalar(
            lambda x: self.loss(np.exp(x), budget, sparsity),
            bounds=(np.log(1e3), np.log(1e14)),
            method="bounded",
            options={"xatol": 1e-10},
        )
        return float(np.exp(found.x)), float(found.fun)


def random_nature(rng):
    """Coefficients as published fits have them."""
    return Nature(
        floor=rng.uniform(1.5, 2),
        a=10 ** rng.uniform(2.3, 3),
        b=10 ** rng.uniform(2.3, 3.2),
        alpha=rng.uniform(0.25, 0.45),
        beta=rng.uniform(0.22, 0.4),
        active=rng.uniform(0.8, 1),
        capacity=rng.uniform(0.4, 0.8),
    )


@dataclass(frozen=True)
class Design:
    """Sizes around each optimum.

    Attributes:
        budget: training FLOPs.
        sizes: at each sparsity.
        span: largest size over best size, and best over smallest.
        off: centre of the sizes over the best size, as a power of ``span``.
        noise: standard deviation between runs, nats per token.
        seeds: runs of each size.
    """

    budget: float = 1e18
    sizes: int = 7
    span: float = 5.0
    off: float = 0.0
    noise: float = 0.003
    seeds: int = 1


def cell(nature, design, rng, sparsity=0.0):
    """The runs of one budget and sparsity."""
    best, _ = nature.optimum(design.budget, sparsity)
    factors = design.span ** (design.off + np.linspace(-1, 1, design.sizes))
    n = np.repeat(best * factors, design.seeds)
    loss = nature.loss(n, design.budget, sparsity) + design.noise * rng.normal(size=len(n))
    return pd.DataFrame({"budget": design.budget, "sparsity": sparsity, "total_params": n, "loss": loss})


def random_dense(seed, noise):
    """A dense table of a random nature and design; its optima by sparsity."""
    rng = np.random.default_rng(seed)
    nature = random_nature(rng)
    design = Design(
        budget=10 ** rng.uniform(17, 21),
        sizes=int(rng.integers(5, 12)),
        span=float(np.exp(rng.uniform(np.log(2.5), np.log(10)))),
        off=rng.uniform(-0.5, 0.5),
        noise=noise,
    )
    return cell(nature, design, rng), {0.0: nature.optimum(design.budget)}


def random_mixtures(seed, noise):
    """A table of several sparsities of a random nature and design; its optima by sparsity."""
    rng = np.random.default_rng(10**6 + seed)
    nature = random_nature(rng)
    design = Design(
        budget=10 ** rng.uniform(17, 21),
        sizes=int(rng.integers(4, 9)),
        span=float(np.exp(rng.uniform(np.log(2), np.log(6)))),
        noise=noise,
    )
    tried = SPARSITIES[: int(rng.integers(2, 8))]
    cells = [cell(nature, replace(design, off=rng.uniform(-0.3, 0.3)), rng, s) for s in tried]
    return pd.concat(cells, ignore_index=True), {s: nature.optimum(design.budget, s) for s in tried}
