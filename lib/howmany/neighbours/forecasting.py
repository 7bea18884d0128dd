"""Forecasts of what the largest models score, from smaller ones: by way of the loss, or straight from the FLOPs.

Chen et al. 2024 fit loss to FLOPs, then score to loss. The table of probes has models of five budgets; those of the
largest are foretold from the others, each number of experts with its own curve of the loss.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

WAYS = {
    "two steps": "FLOPs to loss, loss to score",
    "two steps, by domain": "the same by bits per byte of the probe's own domain",
    "one step": "score straight in ln C",
    "one step, power law": "error a power law in C (Krajewski et al. 2025)",
    "no change": "the score of the largest budget seen",
    "chance": "the level of guessing",
}
"""Ways to foretell a score; the last two know nothing of laws."""

_AHEAD = 0.05  # over chance, from which Chen et al. count a model as able


@dataclass(frozen=True)
class Scores:
    """Scores of models on probes, ready to be drawn again.

    Attributes:
        names: probe and domain of each column.
        scores_MQP: of each model on each probe, in the parts of its text.
        chance_Q: level of guessing.
        loss_M: mean loss, nats per token.
        bits_MQ: bits per byte of each probe's own domain.
        flops_M, experts_M: of each model.
    """

    names: tuple[str, ...]
    scores_MQP: Array
    chance_Q: Array
    loss_M: Array
    bits_MQ: Array
    flops_M: Array
    experts_M: Array

    def drawn(self, rng: np.random.Generator) -> "Scores":
        """Other models of the same budget and experts, and other parts of the text: what chance could have given."""
        models = np.arange(len(self.loss_M))
        for _, group in self.groups():
            models[group] = rng.choice(group, len(group))
        parts = rng.integers(self.scores_MQP.shape[2], size=self.scores_MQP.shape[2])
        return self.of(models, self.scores_MQP[models][:, :, parts])

    def exchanged(self, rng: np.random.Generator) -> "Scores":
        """The same, but scores exchanged between all models below the largest budget: the placebo."""
        scores = self.scores_MQP.copy()
        below = np.flatnonzero(self.flops_M < self.flops_M.max())
        scores[below] = scores[rng.permutation(below)]
        return self.of(np.arange(len(scores)), scores)

    def of(self, models: NDArray[np.intp], scores_MQP: Array) -> "Scores":
        """These models with these scores."""
        return Scores(
            self.names, scores_MQP, self.chance_Q, self.loss_M[models], self.bits_MQ[models], self.flops_M[models],
            self.experts_M[models],
        )  # fmt: skip

    def groups(self) -> Iterator[tuple[tuple[float, int], NDArray[np.intp]]]:
        """Models of each budget and number of experts."""
        for budget in np.unique(self.flops_M):
            for experts in np.unique(self.experts_M):
                found = np.flatnonzero((self.flops_M == budget) & (self.experts_M == experts))
                if len(found):
                    yield (float(budget), int(experts)), found


def scores_of(probes: pd.DataFrame) -> Scores:
    """The accuracies of a table of probes, those whose models of the largest budget are above guessing.

    Args:
        probes: what ``runs.read_probes`` returns.
    """
    right = probes[(probes["metric"] == "accuracy") & (probes["probe"] != "mention")]
    runs = sorted(right["run"].unique())
    about = right.drop_duplicates("run").set_index("run").loc[runs]
    text = probes[probes["probe"] == "text"].pivot_table(index="run", columns="domain", values="value").loc[runs]
    names, scores, chances, bits = [], [], [], []
    largest = about["budget"].to_numpy(float) == about["budget"].max()
    for (probe, domain), rows in right.groupby(["probe", "domain"], sort=False):
        parts = np.array([_parts(cell) for cell in rows.set_index("run").loc[runs]["parts"]])
        chance = float(rows["chance"].mean())
        if parts.mean(1)[largest].mean() > chance + _AHEAD:
            names.append(f"{probe}, {DOMAINS.get(str(domain), domain)}")
            scores.append(parts)
            chances.append(chance)
            bits.append(text[domain].to_numpy(float))
    return Scores(
        tuple(names), np.stack(scores, axis=1), np.array(chances), about["loss"].to_numpy(float),
        np.stack(bits, axis=1), about["budget"].to_numpy(float), about["n_experts"].to_numpy(int),
    )  # fmt: skip


def forecasts(scores: Scores) -> pd.DataFrame:
    """What each way says of each probe and number of experts at the largest budget.

    Args:
        scores: of models of at least three smaller budgets and the largest.

    Returns:
        One row a way, probe and number of experts: ``way``, ``probe``, ``n_experts``, ``forecast``, ``found`` (of the
        model of least loss), ``error`` (of the forecast, as a share of what was found), ``loss`` and ``forecast_loss``.
    """
    value_MQ = scores.scores_MQP.mean(2)
    top = scores.flops_M.max()
    rows = []
    for experts in np.unique(scores.experts_M):
        own = scores.experts_M == experts
        seen, largest = own & (scores.flops_M < top), np.flatnonzero(own & (scores.flops_M == top))
        last = largest[scores.loss_M[largest].argmin()]
        loss = _frontier(scores.flops_M[seen], scores.loss_M[seen], top)
        best = _best_of_budgets(scores.flops_M[seen], scores.loss_M[seen])
        for q, name in enumerate(scores.names):
            seen_value, chance = value_MQ[seen, q], scores.chance_Q[q]
            bits = _frontier(scores.flops_M[seen], scores.bits_MQ[seen, q], top)
            budgets, best_value = np.log(scores.flops_M[seen][best]), seen_value[best]
            said = {
                "two steps": _line(scores.loss_M[seen], seen_value, loss),
                "two steps, by domain": _line(scores.bits_MQ[seen, q], seen_value, bits),
                "one step": _line(budgets, best_value, np.log(top)),
                "one step, power law": 1 - np.exp(_line(budgets, np.log(1 - best_value), np.log(top))),
                "no change": best_value[-1],
                "chance": chance,
            }
            found = float(value_MQ[last, q])
            rows += [
                (way, name, int(experts), float(value), found, abs(float(value) - found) / found,
                 float(scores.loss_M[last]), loss)
                for way, value in said.items()
            ]  # fmt: skip
    columns = ["way", "probe", "n_experts", "forecast", "found", "error", "loss", "forecast_loss"]
    return pd.DataFrame(rows, columns=columns)


def curvature(scores: Scores) -> float:
    """How much a quadratic in the loss takes off the error of a straight line at left-out models: share, mean."""
    value_MQ, below = scores.scores_MQP.mean(2), scores.flops_M < scores.flops_M.max()
    gains = []
    for q in range(len(scores.names)):
        errors = []
        for degree in (1, 2):
            design = np.vander(scores.loss_M[below] - scores.loss_M[below].mean(), degree + 1)
            orthogonal, _ = np.linalg.qr(design)
            value = value_MQ[below, q]
            residual = value - orthogonal @ (orthogonal.T @ value)
            left_out = residual / np.maximum(1 - (orthogonal**2).sum(1), 1e-9)
            errors.append(float(np.sqrt(np.mean(left_out**2))))
        gains.append((errors[0] - errors[1]) / errors[0])
    return float(np.mean(gains))


def mean_errors(table: pd.DataFrame) -> Mapping[str, float]:
    """Way -> mean relative error over probes and numbers of experts."""
    return {str(way): float(value) for way, value in table.groupby("way", sort=False)["error"].mean().items()}


def _frontier(flops: Array, losses: Array, at: float) -> float:
    """The loss of the best model at a larger budget: ln L straight in ln C, through the best of each budget."""
    best = _best_of_budgets(flops, losses)
    return float(np.exp(_line(np.log(flops[best]), np.log(losses[best]), np.log(at))))


def _best_of_budgets(flops: Array, losses: Array) -> NDArray[np.intp]:
    """The model of least loss at each budget, in order of budgets."""
    return np.array([np.flatnonzero(flops == c)[losses[flops == c].argmin()] for c in np.unique(flops)])


def _line(x: Array, y: Array, at: float) -> float:
    """Least squares straight line, at one place."""
    centred = x - x.mean()
    slope = centred @ (y - y.mean()) / max(float(centred @ centred), 1e-30)
    return float(y.mean() + slope * (at - x.mean()))


def _parts(cell: str) -> Sequence[float]:
    return json.loads(cell)


DOMAINS = {"sotu": "speeches"}
