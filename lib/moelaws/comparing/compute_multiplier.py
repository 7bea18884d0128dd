"""A compute multiplier as its reader has it: printed, drawn, as plain values that a test can hold on to."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from moelaws import __version__
from moelaws.fitting.objective import FitError
from moelaws.fitting.result_parts import LEVEL
from moelaws.optimum.allocation import Estimate


@dataclass(frozen=True, repr=False)
class Speedup:
    """A compute multiplier.

    Attributes:
        budget: C of the first configuration, in training FLOPs.
        of, over: the two configurations, in words.
        flops: how many times as many training FLOPs the second one needs for the same loss, both at their best size.
        seconds: the same in seconds of training; ``None`` where no times are known.
        seconds_why: how the seconds were found, or why there are none.
        method: ``observed`` (from the best losses at each budget), or the law.
        extrapolated: whether the second configuration would have to be trained beyond its largest budget.
        level: of the intervals.
        losses: the best losses of both, one row a configuration and budget; empty for a law.
        notes: what else is to be known.
    """

    budget: float
    of: str
    over: str
    flops: Estimate
    seconds: Estimate | None
    seconds_why: str
    method: str
    extrapolated: bool
    level: float = LEVEL
    losses: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()

    def plot(self) -> Any:
        """An Altair chart: best losses against the budget, and the gap that the multiplier measures.

        Raises:
            FitError: a multiplier of a law, which has no observed losses.
        """
        from moelaws.charts.pictures.multiplier import best_loss_by_budget

        if self.losses.empty:
            raise FitError("a law's multiplier has no observed losses to draw")
        return best_loss_by_budget(self.losses, self.budget, self.flops.value, (self.of, self.over))

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what ``moelaws speedup --json`` writes, as ``data/speedup.schema.json`` has it."""
        return {
            "budget": self.budget,
            "of": self.of,
            "over": self.over,
            "method": self.method,
            "level": self.level,
            "flops": vars(self.flops),
            "seconds": None if self.seconds is None else vars(self.seconds),
            "seconds_why": self.seconds_why,
            "extrapolated": self.extrapolated,
            "losses": self.losses.to_dict("records"),
            "notes": list(self.notes),
            "versions": {"moelaws": __version__, "numpy": np.__version__},
        }

    def __str__(self) -> str:
        how = "as read from the runs" if self.method == "observed" else f"by {self.method}"
        lines = [
            f"{self.of} at {self.budget:.4g} training FLOPs is worth {_told(self.flops, self.level)} times the FLOPs of"
            f" {self.over}, both at their best size, {how}"
        ]
        if self.extrapolated:
            lines.append(f"{self.over} was not trained that far: its losses are continued beyond the largest budget")
        lines.append(
            f"in seconds: {self.seconds_why}" if self.seconds is None
            else f"in seconds: {_told(self.seconds, self.level)} times; {self.seconds_why}"
        )  # fmt: skip
        return "\n".join((*lines, *self.notes))

    __repr__ = __str__


def _told(found: Estimate, level: float) -> str:
    if np.isnan(found.low):
        return f"{found.value:.3g} (no interval: curves through as many sizes as they have coefficients)"
    low, high = (f"{end:.3g}" if np.isfinite(end) else "no end" for end in (found.low, found.high))
    return f"{found.value:.3g} ({100 * level:g} %: {low} to {high})"
