"""Where runs stand: the axes of an error of a law, and the logs of size, tokens and experts that weak laws are of."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.discrepancy.axes import axes_of, coordinates
from moelaws.fitting.objective import FitError

_OF_BOTH, _OF_SHARE = "ln(N_a D)", "ln(N_a / D)"
_SIZES, _TOKENS, _FLOPS = ("ln N_a", "ln N"), "ln D", "ln C"


@dataclass(frozen=True, eq=False)
class Frame:
    """The axes that runs, held and to be had, differ along, and the middle of them.

    Attributes:
        axes: names of the axes, see ``fitting.discrepancy.axes``.
        middle: mean ln of size and of tokens, [2].
    """

    axes: tuple[str, ...]
    middle: np.ndarray

    @classmethod
    def of(cls, *tables: pd.DataFrame) -> "Frame":
        """The frame of some tables together.

        Raises:
            FitError: runs that do not differ in anything that a law speaks of.
        """
        whole = pd.concat([table for table in tables if len(table)], ignore_index=True)
        # A column that one of the tables lacks says nothing of how their runs differ.
        axes = axes_of(whole.dropna(axis=1))
        if not axes:
            raise FitError(
                "the runs do not differ in FLOPs, tokens, size or experts: nothing can be learnt from one more"
            )
        frame = cls(axes, np.zeros(2))
        return cls(axes, frame.places(whole).logs[:, :2].mean(axis=0))

    @property
    def extras(self) -> tuple[str, ...]:
        """Axes beside size and tokens: experts, their number for a token, their granularity."""
        return tuple(name for name in self.axes if name not in (_OF_BOTH, _OF_SHARE, *_SIZES, _TOKENS, _FLOPS))

    def places(self, table: Any) -> "Places":
        """Where the runs of a table stand.

        Raises:
            FitError: a column that an axis needs is missing, or holds what is no number above zero.
        """
        at = coordinates(table, self.axes).reshape(-1, len(self.axes))
        if not np.isfinite(at).all():
            row, axis = np.argwhere(~np.isfinite(at))[0]
            raise FitError(
                f"row {row + 1}: {self.axes[axis]} is no number; expected sizes, tokens and experts above zero"
            )
        by = dict(zip(self.axes, at.T, strict=True))
        nothing = np.zeros(len(at))
        size = next((by[name] for name in _SIZES if name in by), None)
        if size is None:
            both, share = by.get(_OF_BOTH, nothing), by.get(_OF_SHARE, nothing)
            size, tokens = 0.5 * (both + share), 0.5 * (both - share)
        else:
            tokens = by[_TOKENS] if _TOKENS in by else by[_FLOPS] - size if _FLOPS in by else nothing
        logs = np.column_stack([size, tokens, *(by[name] for name in self.extras)])
        logs[:, :2] -= self.middle
        return Places(at, logs)


@dataclass(frozen=True, eq=False)
class Places:
    """Where runs stand.

    Attributes:
        at: on the axes of the process, [n, axes].
        logs: ln of size and tokens less their middle, and the extras, [n, 2 + extras].
    """

    at: np.ndarray
    logs: np.ndarray

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, which: Any) -> "Places":
        return Places(self.at[which], self.logs[which])
