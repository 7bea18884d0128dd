"""How long a sweep will take, from a few real training steps of some of its configurations."""

import concurrent.futures as futures
import heapq
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from moelaws.pacing.step_work import FEW, seconds_per_amount, work_table
from moelaws.sweeping.sweep import SweepRun, corpus_of

_SAMPLES = 8


@dataclass(frozen=True)
class Estimate:
    """A forecast of a sweep's wall time.

    Attributes:
        seconds: wall time with ``workers`` workers that take the longest run first.
        workers: number of workers assumed, all as fast as those measured.
        rate: training FLOPs per second of one worker, over the whole sweep.
        samples: configurations measured.
        misfit: largest relative error of the forecast for a step of a configuration that was measured.
        spent: wall time of the measurement, in seconds.
    """

    seconds: float
    workers: int
    rate: float
    samples: int
    misfit: float
    spent: float


def estimate(
    runs: Sequence[SweepRun], executor: futures.Executor, workers: int, device: str = "auto", seconds: float = 10.0
) -> Estimate:
    """Train some steps of representative configurations and forecast the sweep from them.

    A step's time is taken to be a sum of four amounts (``pacing.step_work.FEW``): constant, in proportion to its FLOPs,
    to all parameters (the optimiser touches idle experts too) and to experts (each is a matrix product of its own).

    Args:
        runs: pinned runs, at least one; see ``pin``.
        executor: where the steps are trained, all workers at once, as they will be in the sweep.
        workers: how many calls it makes at the same time.
        device: see ``run_sweep``.
        seconds: wall time to spend on steps; starting the workers comes on top.

    Returns:
        The forecast.
    """
    chosen = representatives(runs)
    began = time.perf_counter()
    share = seconds * workers / len(chosen)
    pending = [executor.submit(time_steps, item, device, share) for item in chosen]
    measured = np.array([future.result() for future in pending])
    spent = time.perf_counter() - began
    parts = np.array([_parts(item) for item in chosen])
    weights = seconds_per_amount(parts, measured)
    forecast = np.array([_parts(item) @ weights * _steps(item) for item in runs])
    return Estimate(
        seconds=makespan(forecast.tolist(), workers),
        workers=workers,
        rate=sum(item.train_flops for item in runs) / float(forecast.sum()),
        samples=len(chosen),
        misfit=float(np.max(np.abs(parts @ weights / measured - 1))),
        spent=spent,
    )


def representatives(runs: Sequence[SweepRun], count: int = _SAMPLES) -> list[SweepRun]:
    """Runs whose steps are as unlike each other as they come in a sweep.

    Args:
        runs: the sweep.
        count: how many at most.

    Returns:
        The run with the most expensive step, then always the one farthest from those chosen, in logarithms of the
        four parts of a step's time.
    """
    distinct = list({tuple(_parts(item)): item for item in runs}.values())
    places = np.log(np.array([_parts(item) for item in distinct]))
    chosen = [int(places[:, FEW.index("flops")].argmax())]
    distance = np.full(len(distinct), np.inf)
    while len(chosen) < min(count, len(distinct)):
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return [distinct[i] for i in chosen]


def makespan(lengths: Sequence[float], workers: int) -> float:
    """When the last of some jobs ends, if each free worker takes the longest that is left.

    Args:
        lengths: of the jobs, in any unit of time.
        workers: how many work at a time.

    Returns:
        The time, in the same unit.
    """
    free = [0.0] * workers
    for length in sorted(lengths, reverse=True):
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def time_steps(item: SweepRun, device: str, seconds: float) -> float:
    """Train a run's first steps, with everything that belongs to a step, and stop.

    Args:
        item: a pinned run.
        device: see ``run_sweep``.
        seconds: how long; two steps are made in any case, or the run's only one.

    Returns:
        Median seconds of a step; the first one, which sets things up, is left out where there is another.
    """
    from moelaws.training.train import train

    ends = [(0, time.perf_counter())]

    def on_step(step: int, steps: int, loss: float) -> None:
        ends.append((step, time.perf_counter()))
        if len(ends) > 2 and ends[-1][1] - ends[0][1] >= seconds:
            raise _Enough

    with suppress(_Enough):
        train(item.run, corpus_of(item.run), device=device, threads=1, on_step=on_step)
    # A GPU is given many steps at a time.
    lengths = [(after - before) / (made - known) for (known, before), (made, after) in pairwise(ends)]
    return statistics.median(lengths[1:] or lengths)


class _Enough(Exception):
    """The steps that were wanted have been made."""


def _parts(item: SweepRun) -> np.ndarray:
    """Amounts of a step."""
    row: np.ndarray = work_table([(item.run.model, item.run.batch_tokens)], FEW)[0]
    return row


def _steps(item: SweepRun) -> float:
    """Steps of a run, its validation counted as the steps that would cost as much: a third, having no backward pass."""
    return item.run.steps + item.run.train.validation_tokens / item.run.batch_tokens / 3
