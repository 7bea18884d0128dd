"""What models can do against their loss: does sparsity matter once two models have the same loss?

Abnar et al. 2025 (Sec. 5) plot the error of a task against the pretraining loss and see one curve for all sparsities,
but for reading comprehension. Here the question is a coefficient: value = polynomial(L) + s S^ with S^ = -ln(1 - S),
and s = 0 where the paper sees one curve.
"""

import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Finding = Literal["sparse worse", "sparse better", "no difference seen", "cannot tell"]
Word = Literal["reproduced", "not reproduced", "not resolved", "cannot be tested here"]

_DEGREES = (1, 2, 3)


@dataclass(frozen=True)
class EqualLoss:
    """What a probe says about models of equal loss.

    Attributes:
        probe, domain, metric: of the table of probes.
        runs: how many models.
        degree: of the polynomial in the loss, the one that predicts left-out models best.
        by_loss: change of the value per nat of loss at equal sparsity, the slope of a straight line.
        by_loss_low, by_loss_high: its interval.
        effect: change of the value from the densest to the sparsest model at equal loss.
        low, high: its interval.
        penalty: the effect in nats of loss: positive where sparse models do as badly as denser ones of so much higher
            a loss.
        penalty_low, penalty_high: its interval, of the effect alone: that of ``by_loss`` is left out of it.
        residual: standard deviation of the models around the fit.
        finding: ``cannot tell`` if the value does not follow the loss, so that it cannot follow sparsity either; else
            whether sparse models do worse or better at equal loss, as far as the interval excludes zero.
    """

    probe: str
    domain: str
    metric: str
    runs: int
    degree: int
    by_loss: float
    by_loss_low: float
    by_loss_high: float
    effect: float
    low: float
    high: float
    penalty: float
    penalty_low: float
    penalty_high: float
    residual: float
    finding: Finding


def compare_at_equal_loss(probes: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Judge every probe, domain and metric.

    Args:
        probes: what ``runs.probed.read_probes`` returns.
        level: of the intervals.

    Returns:
        One row a probe, domain and metric, in the order of the table, with the fields of ``EqualLoss``.
    """
    groups = probes.groupby(["probe", "domain", "metric"], sort=False)
    return pd.DataFrame([asdict(equal_loss(group, level)) for _, group in groups])


def equal_loss(rows: pd.DataFrame, level: float = 0.95) -> EqualLoss:
    """Judge one probe of one domain by one metric.

    The interval allows for two kinds of chance. Another seed would have moved each model; another choice of
    questions would have moved all models, and not all alike. So the variance of a coefficient is clustered twice
    (Cameron, Gelbach and Miller 2011): by model, with the residuals of left-out models, and by part of the text, from
    the coefficient in each part; what both count is taken off once.

    Args:
        rows: one row a model: ``probe``, ``domain``, ``metric``, ``value``, ``parts``, ``loss``, ``sparsity``.
        level: of the intervals.

    Raises:
        ValueError: fewer than eight models, fewer than three losses, or all of one sparsity.
    """
    name = " ".join(str(rows[column].iloc[0]) for column in ("probe", "domain", "metric"))
    loss, idle = rows["loss"].to_numpy(float), -np.log1p(-rows["sparsity"].to_numpy(float))
    value = rows["value"].to_numpy(float)
    if len(rows) < 8 or len(np.unique(loss)) < 3 or idle.max() <= idle.min():
        raise ValueError(f"{name}: expected at least eight models of several losses and sparsities, found {len(rows)}")
    spread = (idle - idle.min()) / (idle.max() - idle.min())
    degrees = [degree for degree in _DEGREES if len(rows) >= 2 * (degree + 2)]
    designs = {degree: _design(loss, spread, degree) for degree in degrees}
    degree = min(degrees, key=lambda d: float(np.mean(_left_out(designs[d], value) ** 2)))
    design = designs[degree]
    estimates, errors, parts = _clustered(design, value, _parts(rows))
    freedom = min(len(rows) - design.shape[1], parts - 1) if parts > 1 else len(rows) - design.shape[1]
    share = float(stats.t.ppf(0.5 + level / 2, freedom))
    effect = estimates[-1] + share * errors[-1] * np.array([0.0, -1.0, 1.0])
    # The slope of a curve at one loss may be flat by chance; that of a line says whether the value follows the loss.
    straight, straight_errors, _ = _clustered(_design(loss, spread, 1), value, _parts(rows))
    by_loss = np.array([straight[1], *(straight[1] + sign * share * straight_errors[1] for sign in (-1, 1))])
    residual = value - design @ np.linalg.lstsq(design, value, rcond=None)[0]
    penalty = effect / by_loss[0]
    return EqualLoss(
        probe=str(rows["probe"].iloc[0]),
        domain=str(rows["domain"].iloc[0]),
        metric=str(rows["metric"].iloc[0]),
        runs=len(rows),
        degree=degree,
        by_loss=float(by_loss[0]),
        by_loss_low=float(by_loss[1]),
        by_loss_high=float(by_loss[2]),
        effect=float(effect[0]),
        low=float(effect[1]),
        high=float(effect[2]),
        penalty=float(penalty[0]),
        penalty_low=float(penalty.min()),
        penalty_high=float(penalty.max()),
        residual=float(np.sqrt(residual @ residual / (len(rows) - design.shape[1]))),
        finding=_judge(by_loss, effect),
    )


def curve(rows: pd.DataFrame, found: EqualLoss, points: int = 40) -> pd.DataFrame:
    """The fitted value over the loss, at the densest and the sparsest model's sparsity.

    Args:
        rows: as given to ``equal_loss``.
        found: what it returned.
        points: of each line.

    Returns:
        Columns ``loss``, ``value``, ``sparsity``.
    """
    loss, idle = rows["loss"].to_numpy(float), -np.log1p(-rows["sparsity"].to_numpy(float))
    spread = (idle - idle.min()) / (idle.max() - idle.min())
    weights = np.linalg.lstsq(_design(loss, spread, found.degree), rows["value"].to_numpy(float), rcond=None)[0]
    grid = np.linspace(loss.min(), loss.max(), points)
    lines = []
    for end, sparsity in ((0.0, rows["sparsity"].min()), (1.0, rows["sparsity"].max())):
        at = _design(grid, np.full(points, end), found.degree, centre=float(loss.mean()))
        lines.append(pd.DataFrame({"loss": grid, "value": at @ weights, "sparsity": sparsity}))
    return pd.concat(lines, ignore_index=True)


def pool(probes: pd.DataFrame, found: pd.DataFrame, name: str) -> pd.DataFrame:
    """Put several probes together: each model's mean score, in nats of loss.

    Every value is divided by its change per nat of loss, so that all count alike: a score of 0.1 is what a loss higher
    by 0.1 brings. Surer probes weigh more, by the inverse square of the width of their penalty's interval.

    Args:
        probes: as given to ``compare_at_equal_loss``.
        found: those of its rows that are to be pooled; what does not follow the loss is left out.
        name: the pool's name, for ``probe``.

    Returns:
        One row a model that has them all, for ``equal_loss``, whose ``effect`` is then the pooled penalty; no rows if
        no probe follows the loss.
    """
    able = found[found["finding"] != "cannot tell"]
    weights = 1 / (able["penalty_high"] - able["penalty_low"]) ** 2
    key = ["probe", "domain", "metric"]
    scales = able[key].assign(scale=weights / weights.sum() / able["by_loss"])
    scored = probes.merge(scales, on=key)
    rows = []
    for run, own in scored.groupby("run", sort=False):
        if len(own) == len(able):
            scale = own["scale"].to_numpy(float)
            parts, value = scale @ _parts(own), float(scale @ own["value"].to_numpy(float))
            about = {"run": run, "probe": name, "domain": "all", "metric": "nats of loss", "value": value}
            facts = own.iloc[0][["loss", "sparsity", "n_experts"]].to_dict()
            rows.append(about | facts | {"parts": json.dumps(parts.tolist())})
    return pd.DataFrame(rows)


def same_curve(found: pd.DataFrame, tolerance: float) -> Word:
    """Judge the claim that what models can do is one function of the loss at all sparsities.

    Args:
        found: rows of ``compare_at_equal_loss``, the pool first, the single probes at a level that allows for their
            number.
        tolerance: nats of loss; smaller penalties count as none.

    Returns:
        ``not reproduced`` if one interval lies outside the tolerance, else ``reproduced`` if that of the pool lies
        within it, else ``not resolved``; ``cannot be tested here`` if no probe follows the loss.
    """
    able = found[found["finding"] != "cannot tell"]
    if able.empty:
        return "cannot be tested here"
    low, high = able["penalty_low"], able["penalty_high"]
    if ((low > tolerance) | (high < -tolerance)).any():
        return "not reproduced"
    return "reproduced" if low.iloc[0] > -tolerance and high.iloc[0] < tolerance else "not resolved"


def sparse_worse(found: pd.DataFrame) -> Word:
    """Judge the claim that sparse models do worse at equal loss.

    Args:
        found: rows of ``compare_at_equal_loss``, at a level that allows for their number.

    Returns:
        ``reproduced`` if some interval says worse and none better, ``not reproduced`` if some says better and none
        worse, else ``not resolved``; ``cannot be tested here`` if no probe follows the loss.
    """
    words = set(found["finding"]) - {"cannot tell"}
    if not words:
        return "cannot be tested here"
    if "sparse worse" in words and "sparse better" not in words:
        return "reproduced"
    return "not reproduced" if "sparse better" in words and "sparse worse" not in words else "not resolved"


def _design(loss: Array, spread: Array, degree: int, centre: float | None = None) -> Array:
    """Columns 1, L, L^2, ... around the mean loss, and the place between the densest and the sparsest model."""
    nats = loss - (loss.mean() if centre is None else centre)
    return np.column_stack([nats**power for power in range(degree + 1)] + [spread])


def _left_out(design: Array, value: Array) -> Array:
    """Residual of each model in the fit to all others."""
    q, _ = np.linalg.qr(design)
    leverage = np.einsum("ij,ij->i", q, q)
    return (value - q @ (q.T @ value)) / np.maximum(1 - leverage, 1e-9)


def _clustered(design: Array, value: Array, parts: Array) -> tuple[Array, Array, int]:
    """Coefficients, their standard errors clustered by model and by part, and the number of parts."""
    solve = np.linalg.pinv(design)  # coefficients are solve @ value
    by_model = (solve**2) @ _left_out(design, value) ** 2
    count = parts.shape[1]
    if count < 2:
        return solve @ value, np.sqrt(by_model), count
    in_parts = solve @ parts
    by_part = in_parts.var(axis=1, ddof=1) / count
    residuals = parts - design @ in_parts  # what neither the model nor the part explains
    both = (solve**2) @ (residuals - residuals.mean(axis=1, keepdims=True)).var(axis=1, ddof=1) / count
    # Never less than either kind of chance alone.
    variance = np.maximum(by_model + by_part - both, np.maximum(by_model, by_part))
    return solve @ value, np.sqrt(variance), count


def _parts(rows: pd.DataFrame) -> Array:
    """Models x parts; no parts where the table does not have the same number for all."""
    lists = [json.loads(text) if isinstance(text, str) and text else [] for text in rows["parts"]]
    if len({len(parts) for parts in lists}) != 1:
        return np.empty((len(rows), 0))
    return np.array(lists, dtype=float).reshape(len(rows), -1)


def _judge(by_loss: Array, effect: Array) -> Finding:
    """Both are a value and the ends of its interval."""
    if by_loss[1] <= 0 <= by_loss[2]:
        return "cannot tell"
    if effect[1] <= 0 <= effect[2]:
        return "no difference seen"
    # What grows with the loss is bad, and what falls with it is good.
    return "sparse worse" if effect[0] * by_loss[0] > 0 else "sparse better"
