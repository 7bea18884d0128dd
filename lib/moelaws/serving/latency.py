"""Profiled latencies: tables over model size and batch, interpolated linearly as Yun et al. 2024 do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from moelaws.serving.served import Served

Array = Any


@dataclass(frozen=True)
class Profile:
    """Seconds over a grid of model sizes and batches, on one number of processors.

    Attributes:
        sizes: total parameters N of the profiled models, rising, [sizes].
        batches: batches, or prompts at once, rising, [batches].
        seconds: [sizes, batches].
    """

    sizes: np.ndarray
    batches: np.ndarray
    seconds: np.ndarray

    def __post_init__(self) -> None:
        sizes, batches, seconds = (np.asarray(v, float) for v in (self.sizes, self.batches, self.seconds))
        if seconds.shape != (len(sizes), len(batches)):
            raise ValueError(f"profile: seconds is {seconds.shape}, expected {(len(sizes), len(batches))}")
        for name, axis in (("sizes", sizes), ("batches", batches)):
            if len(axis) < 2 or not (np.diff(axis) > 0).all():
                raise ValueError(f"profile: {name} must hold at least two rising numbers, found {axis.tolist()}")
        if not (seconds > 0).all():
            raise ValueError(f"profile: seconds must be > 0, found {seconds.min():g}")

    def at(self, size: Array, batch: Array) -> Array:
        """Seconds at a size and a batch; beyond the grid the last cell's plane goes on, which is an extrapolation."""
        i, u = _cell(np.asarray(self.sizes, float), size)
        j, v = _cell(np.asarray(self.batches, float), batch)
        s = np.asarray(self.seconds, float)
        low = s[i, j] * (1 - v) + s[i, j + 1] * v
        high = s[i + 1, j] * (1 - v) + s[i + 1, j + 1] * v
        return low * (1 - u) + high * u


def _cell(axis: np.ndarray, x: Array) -> tuple[Array, Array]:
    left = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, len(axis) - 2)
    return left, (x - axis[left]) / (axis[left + 1] - axis[left])


@dataclass(frozen=True)
class Profiled:
    """Latencies from tables; a ``Latency`` for ``cost.Deployment``.

    Attributes:
        prefill_tables, decode_tables: number of processors -> profile.
    """

    prefill_tables: Mapping[int, Profile]
    decode_tables: Mapping[int, Profile]

    def prefill(self, model: Served, prompts: Array, gpus: int) -> Array:
        """Seconds to read prompts; a share of a prompt is that share of the time of one."""
        table = self._of(self.prefill_tables, gpus)
        return table.at(model.total_params, np.maximum(prompts, 1)) * np.minimum(prompts, 1)

    def decode(self, model: Served, batch: Array, gpus: int) -> Array:
        """Seconds of a decode step."""
        return self._of(self.decode_tables, gpus).at(model.total_params, batch)

    @staticmethod
    def _of(tables: Mapping[int, Profile], gpus: int) -> Profile:
        if gpus not in tables:
            raise ValueError(f"no latency profile for {gpus} processors; there are {sorted(tables)}")
        return tables[gpus]
