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

from moelaws.fitting.least_squares import LinearFit, least_squares

Array = NDArray[np.float64]
Finding = Literal["sparse worse", "sparse better", "no difference seen", "cannot tell"]

_DEGREES = (1, 2, 3)
_LESS_IS_BETTER = ("bits/byte", "nats of loss")


@dataclass(frozen=True)
class EqualLoss:
    """What a probe says about models of equal loss.

    Attributes:
        probe, domain, metric: of the table of probes.
        runs: how many models.
        degree: of the polynomial in the loss, the one that predicts left-out models best.
        above, above_low, above_high: mean of the models over the level of guessing, and its interval; NaN where a
            metric has no such level.
        by_loss, by_loss_low, by_loss_high: change of the value per nat of loss at equal sparsity, the slope of a
            straight line, and its interval.
        effect, low, high: change of the value from the densest to the sparsest model at equal loss, and its interval.
        penalty, penalty_low, penalty_high: the effect in nats of loss: positive where sparse models do as badly as
            denser ones of so much higher a loss. The interval is that of the effect alone. NaN where the value is not
            seen to follow the loss.
        residual: standard deviation of the models around the fit.
        finding: ``cannot tell`` if the models are not seen to do better than guesses and the value is not seen to
            follow the loss, since it then cannot follow sparsity either; else whether sparse models do worse or better
            at equal loss, as far as the interval excludes zero.
    """

    probe: str
    domain: str
    metric: str
    runs: int
    degree: int
    above: float
    above_low: float
    above_high: float
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
        rows: one row a model: ``probe``, ``domain``, ``metric``, ``value``, ``chance``, ``parts``, ``loss``,
            ``sparsity``.
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
    designs = {degree: _centred(_design(loss, spread, degree)) for degree in degrees}
    degree = min(degrees, key=lambda d: float(np.mean(_left_out(designs[d], value) ** 2)))
    parts = _parts(rows)
    freedom = min(len(rows) - degree - 2, parts.shape[1] - 1 if parts.shape[1] > 1 else len(rows))
    reach = float(stats.t.ppf(0.5 + level / 2, freedom)) * np.array([0.0, -1.0, 1.0])
    estimates, errors = _clustered(designs[degree], value, parts)
    # The slope of a curve at one loss may be flat by chance; that of a line says whether the value follows the loss.
    straight, straight_errors = _clustered(designs[1], value, parts)
    effect, by_loss = estimates[-1] + reach * errors[-1], straight[1] + reach * straight_errors[1]
    above = estimates[0] + reach * errors[0] - float(rows["chance"].mean())
    residual = value - designs[degree] @ estimates
    return EqualLoss(
        probe=str(rows["probe"].iloc[0]),
        domain=str(rows["domain"].iloc[0]),
        metric=(metric := str(rows["metric"].iloc[0])),
        runs=len(rows),
        degree=degree,
        **_interval("above", above),
        **_interval("by_loss", by_loss),
        effect=float(effect[0]),
        low=float(effect[1]),
        high=float(effect[2]),
        **_interval("penalty", effect / by_loss[0] if _excludes_zero(by_loss) else np.full(3, np.nan)),
        residual=float(np.sqrt(residual @ residual / (len(rows) - degree - 2))),
        finding=_judge(above, by_loss, effect, -1 if metric in _LESS_IS_BETTER else 1),
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
    fit = least_squares(_design(loss, spread, found.degree), rows["value"].to_numpy(float))
    assert fit is not None, "equal_loss has fitted the same"
    grid = np.linspace(loss.min(), loss.max(), points)
    lines = []
    for end, sparsity in ((0.0, rows["sparsity"].min()), (1.0, rows["sparsity"].max())):
        at = _design(grid, np.full(points, end), found.degree, centre=float(loss.mean()))
        lines.append(pd.DataFrame({"loss": grid, "value": at @ fit.weights, "sparsity": sparsity}))
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
    able = found[found["penalty"].notna()]
    weights = 1 / (able["penalty_high"] - able["penalty_low"]) ** 2
    key = ["probe", "domain", "metric"]
    scales = able[key].assign(scale=weights / weights.sum() / able["by_loss"])
    scored = probes.merge(scales, on=key)
    rows = []
    for run, own in scored.groupby("run", sort=False):
        if len(own) == len(able):
            scale = own["scale"].to_numpy(float)
            parts, value = scale @ _parts(own), float(scale @ own["value"].to_numpy(float))
            about = {"run": run, "probe": name, "domain": "all", "metric": "nats of loss"}
            facts = own.iloc[0][["loss", "sparsity", "n_experts"]].to_dict()
            rows.append(about | facts | {"value": value, "chance": np.nan, "parts": json.dumps(parts.tolist())})
    return pd.DataFrame(rows)


def _design(loss: Array, spread: Array, degree: int, centre: float | None = None) -> Array:
    """Columns 1, L, L^2, ... around the mean loss, and the place between the densest and the sparsest model."""
    nats = loss - (loss.mean() if centre is None else centre)
    return np.column_stack([nats**power for power in range(degree + 1)] + [spread])


def _centred(design: Array) -> Array:
    """The same fit with the mean of the values as its first coefficient."""
    return np.column_stack([design[:, 0], design[:, 1:] - design[:, 1:].mean(axis=0)])


def _left_out(design: Array, value: Array) -> Array:
    """Residual of each model in the fit to all others."""
    return _fit(design, value).left_out


def _fit(design: Array, value: Array) -> LinearFit:
    fit = least_squares(design, value)
    if fit is None:
        raise ValueError("the models' losses and sparsities do not tell a curve and an effect apart")
    return fit


def _clustered(design: Array, value: Array, parts: Array) -> tuple[Array, Array]:
    """Coefficients, and their standard errors clustered by model and by part."""
    fit = _fit(design, value)
    solve = fit.root @ fit.q.T  # coefficients are solve @ value
    by_model = (solve**2) @ fit.left_out**2
    count = parts.shape[1]
    if count < 2:
        return fit.weights, np.sqrt(by_model)
    in_parts = solve @ parts
    by_part = in_parts.var(axis=1, ddof=1) / count
    residuals = parts - design @ in_parts  # what neither the model nor the part explains
    both = (solve**2) @ (residuals - residuals.mean(axis=1, keepdims=True)).var(axis=1, ddof=1) / count
    # Never less than either kind of chance alone.
    return fit.weights, np.sqrt(np.maximum(by_model + by_part - both, np.maximum(by_model, by_part)))


def _parts(rows: pd.DataFrame) -> Array:
    """Models x parts; no parts where the table does not have the same number for all."""
    lists = [json.loads(text) if isinstance(text, str) and text else [] for text in rows["parts"]]
    if len({len(parts) for parts in lists}) != 1:
        return np.empty((len(rows), 0))
    return np.array(lists, dtype=float).reshape(len(rows), -1)


def _judge(above: Array, by_loss: Array, effect: Array, better: int) -> Finding:
    """Each is a value and the ends of its interval; ``better`` is the sign of a change for the better."""
    if not _excludes_zero(by_loss) and not (better * above > 0).all():
        return "cannot tell"
    if not _excludes_zero(effect):
        return "no difference seen"
    return "sparse better" if effect[0] * better > 0 else "sparse worse"


def _excludes_zero(interval: Array) -> bool:
    return bool(interval[1] > 0 or interval[2] < 0)


def _interval(name: str, values: Array) -> dict[str, float]:
    low, high = sorted(values[1:].tolist())
    return {name: float(values[0]), f"{name}_low": low, f"{name}_high": high}
