"""How far a sweep is, how fast it goes and how long the rest takes, counted in FLOPs: runs differ in length."""

import time


class Progress:
    """The progress of one call of a sweep.

    Attributes:
        runs, total_runs: finished and wanted runs.
        flops, total_flops: likewise, training FLOPs.
        workers: runs that are trained at the same time.
    """

    def __init__(self, total_runs: int, total_flops: float, workers: int = 1) -> None:
        self.runs, self.total_runs = 0, total_runs
        self.flops, self.total_flops = 0.0, total_flops
        self.workers = workers
        self._busy = 0.0
        self._start: float | None = None

    def count(self, flops: float, seconds: float) -> None:
        """Count one more finished run.

        Args:
            flops: its training FLOPs.
            seconds: wall time it took its worker.
        """
        if self._start is None:  # the workers' own start is not the runs' speed
            self._start = time.perf_counter() - seconds
        self.runs += 1
        self.flops += flops
        self._busy += seconds

    @property
    def rate(self) -> float:
        """Training FLOPs per second of one worker, over the finished runs."""
        return self.flops / self._busy if self._busy else 0.0

    @property
    def seconds_left(self) -> float:
        """Wall time the rest takes if all workers stay as fast; infinite before the first run.

        What the other workers have already done of their present runs is counted: the time since the start
        that is in no finished run.
        """
        if self._start is None or not self.rate:
            return float("inf")
        if self.runs == self.total_runs:
            return 0.0
        elapsed = time.perf_counter() - self._start
        return max(0.0, self.total_flops / self.rate / self.workers - elapsed)


def spoken(seconds: float) -> str:
    """A duration in the unit one would say it in, as ``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
