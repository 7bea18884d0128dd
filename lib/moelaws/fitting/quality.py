"""How well a law predicts some runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from moelaws.laws.forms import Law


@dataclass(frozen=True)
class Quality:
    """How well a law predicts some runs.

    Attributes:
        n: runs.
        rmse_log: root mean square of ln L_hat - ln L.
        mse: mean square of L_hat - L.
        r2: share of the variance of L explained; nan for runs of one loss.
    """

    n: int
    rmse_log: float
    mse: float
    r2: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; nan becomes null."""
        return {"n": self.n} | {name: _plain(getattr(self, name)) for name in ("rmse_log", "mse", "r2")}


def quality(law: Law, params: Mapping[str, float], runs: Any) -> Quality:
    """Measures of a law with given parameters on some runs.

    Args:
        law: the law.
        params: parameter -> value.
        runs: a run table, or a mapping of columns, with the law's target.

    Returns:
        The measures.
    """
    observed = np.asarray(runs[law.target], dtype=float)
    predicted = np.asarray(law.predict(params, runs), dtype=float)
    spread = float(((observed - observed.mean()) ** 2).sum())
    with np.errstate(all="ignore"):  # a law of anybody's may foretell what no number holds
        square = (predicted - observed) ** 2
        rmse_log = float(np.sqrt(np.mean(np.log(predicted / observed) ** 2)))
    return Quality(
        len(observed), rmse_log, float(square.mean()), 1 - float(square.sum()) / spread if spread else np.nan
    )


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
