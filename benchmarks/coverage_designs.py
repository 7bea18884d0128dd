"""Designs of runs with a known truth, to judge intervals on: few runs, unequal and shared noise, a floor far away."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from fit_tables import make_table, truth

from moelaws.fitting.objective import Objective
from moelaws.laws import LAWS, Law

Table = dict[str, np.ndarray]


@dataclass(frozen=True)
class Design:
    """How the tables of one case are made.

    Attributes:
        words: what is hard about it.
        law: the law that the runs follow.
        objective: what is minimised.
        draw: a generator -> the columns of a new design, and the noise of ln L; ``None`` for the tables of
            ``fit_tables``, with this noise.
        noise: for those tables, the standard deviation of ln L.
    """

    words: str
    law: str
    objective: Objective
    draw: Callable[[np.random.Generator], tuple[Table, np.ndarray]] | None = None
    noise: float = 0.0

    def table(self, seed: int) -> tuple[Law, pd.DataFrame, Mapping[str, float]]:
        """The law, a new table, and the true parameters."""
        if self.draw is None:
            law, table, params = make_table(self.law, 400, self.noise, seed)
            return law, pd.DataFrame(table), params
        law, params = LAWS[self.law], truth(self.law)
        table, noise = self.draw(np.random.default_rng([seed, 911]))
        return law, pd.DataFrame(table | {"loss": law.predict(params, table) * np.exp(noise)}), params


def dense(rng: np.random.Generator, n: int) -> Table:
    """Sizes and tokens over the range of published runs."""
    return {
        "active_params": np.exp(rng.uniform(np.log(3e7), np.log(1e10), n)),
        "tokens": np.exp(rng.uniform(np.log(1e9), np.log(3e11), n)),
    }


def five_runs(rng: np.random.Generator) -> tuple[Table, np.ndarray]:
    """Four sizes at twenty tokens a parameter and the smallest one again at sixteen times as many."""
    size = np.array([4.1e8, 1.54e8, 7.9e7, 1.06e7, 1.06e7])
    return {"total_params": size, "tokens": size * [20, 20, 20, 20, 320]}, 0.005 * rng.standard_normal(5)


def few_runs(rng: np.random.Generator) -> tuple[Table, np.ndarray]:
    """28 runs at 1 % noise."""
    return dense(rng, 28), 0.01 * rng.standard_normal(28)


def unequal(rng: np.random.Generator) -> tuple[Table, np.ndarray]:
    """Sixty sizes at each of four budgets; noise falls by a factor of three from the smallest to the largest."""
    budget = np.repeat(np.geomspace(1e18, 1e21, 4), 60)
    size = np.sqrt(budget / 120) * np.exp(rng.uniform(-2, 2, 240))
    spread = 0.015 * (budget / 1e18) ** (-np.log(3) / np.log(1e3))
    return {"active_params": size, "tokens": budget / 6 / size, "budget": budget}, spread * rng.standard_normal(240)


def by_configuration(rng: np.random.Generator) -> tuple[Table, np.ndarray]:
    """Sixty configurations of four seeds; half of the variance belongs to the configuration."""
    table = {name: np.repeat(values, 4) for name, values in dense(rng, 60).items()}
    table["seed"] = np.tile(np.arange(4), 60)
    return table, 0.007 * (np.repeat(rng.standard_normal(60), 4) + rng.standard_normal(240))


def by_seed(rng: np.random.Generator) -> tuple[Table, np.ndarray]:
    """240 configurations, each with one of eight seeds, in blocks of size; half of the variance belongs to the seed."""
    table = dense(rng, 240)
    table["active_params"] = np.sort(table["active_params"])
    table["seed"] = np.repeat(np.arange(8), 30)
    return table, 0.007 * (np.repeat(rng.standard_normal(8), 30) + rng.standard_normal(240))


_HUBER = Objective("huber-log")
_SQUARES = Objective("lsq-log")

DESIGNS = {
    "five runs": Design("5 runs, 4 parameters", "gadre2024", Objective("lsq"), five_runs),
    "small delta": Design(
        "28 runs, Huber delta a twentieth of the noise", "hoffmann2022", Objective("huber-log", 5e-4), few_runs
    ),
    "unequal": Design("240 runs, noise x3 between budgets", "hoffmann2022", _HUBER, unequal),
    "unequal lsq": Design("the same, least squares", "hoffmann2022", _SQUARES, unequal),
    "configurations": Design("60 configurations of 4 seeds share noise", "hoffmann2022", _HUBER, by_configuration),
    "configurations lsq": Design("the same, least squares", "hoffmann2022", _SQUARES, by_configuration),
    "seeds": Design("8 seeds share noise, each in a block of sizes", "hoffmann2022", _HUBER, by_seed),
    "seeds lsq": Design("the same, least squares", "hoffmann2022", _SQUARES, by_seed),
    "abnar .01": Design("400 runs, 10 parameters, a floor out of reach", "abnar2025", _HUBER, noise=0.01),
    "abnar .002": Design("400 runs, 10 parameters", "abnar2025", _HUBER, noise=0.002),
}
"""Cases by name."""
