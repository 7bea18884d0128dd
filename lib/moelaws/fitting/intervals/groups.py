"""Which runs are no news: replicates of one design point, and runs that share noise, such as those of one seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.intervals.resampling import codes_of
from moelaws.fitting.objective import FitError

SEED = "seed"
"""The column whose runs may share noise: the order of the data, which one seed draws for all its models."""


@dataclass(frozen=True)
class Groups:
    """Which of the runs of a fit may share noise.

    Attributes:
        design: code of each run's design point, [runs]. Runs at which a law has the same inputs share whatever the law
            misses there, so they are one observation of it and not several.
        shared: code of the group that a run shares noise with, [runs]; ``None`` where there is no such group.
        name: the column of ``shared``, for messages.
        asked: whether the reader named that column; one found by its name is only looked at for a common shift.
    """

    design: np.ndarray
    shared: np.ndarray | None = None
    name: str = ""
    asked: bool = False

    @property
    def n_designs(self) -> int:
        """Different design points."""
        return int(self.design.max()) + 1

    @property
    def n_shared(self) -> int:
        """Groups that share noise; 0 without."""
        return 0 if self.shared is None else int(self.shared.max()) + 1

    @classmethod
    def of_runs(cls, data: Mapping[str, np.ndarray], table: pd.DataFrame, clusters: Any | None = None) -> "Groups":
        """The groups of a run table.

        Args:
            data: the law's letter -> values, [runs].
            table: the same runs, with the columns beside.
            clusters: a column, or a label for each run, of runs that share noise; by default the column ``seed``.

        Returns:
            The groups; a column whose values each stand at one design point only adds nothing, and is left out.

        Raises:
            FitError: an unknown column, another number of labels than of runs, a run without a label, one cluster.
        """
        inputs = np.stack([np.asarray(values, dtype=float) for values in data.values()], axis=1)
        design = np.unique(inputs, axis=0, return_inverse=True)[1].reshape(-1)
        asked = clusters is not None
        if isinstance(clusters, str):
            if clusters not in table.columns:
                raise FitError(f"clusters: no column {clusters!r}")
            name, labels = clusters, table[clusters].to_numpy()
        elif asked:
            name, labels = "the clusters given", np.asarray(clusters)
        elif SEED in table.columns and table[SEED].notna().all():
            name, labels = SEED, table[SEED].to_numpy()
        else:
            return cls(design)
        shared = codes_of(labels, len(table), name)
        assert shared is not None
        if asked and len(np.unique(shared)) < 2:
            raise FitError(f"clusters: {len(table)} runs are all of one {name}, which shows nothing of what they share")
        alone = len(np.unique(np.stack([shared, design]), axis=1).T) == len(np.unique(shared))
        if not asked and (len(np.unique(shared)) < 2 or alone):
            return cls(design)
        return cls(design, shared, name, asked)
