"""Steps on a GPU as one graph: recorded once, replayed from then on.

A step of a tiny model is some hundred kernels of microseconds. Started one by one from Python they take ten times as
long as they run. CUDA can record them and start all at once, as long as no kernel waits for the host: batches, rates
and losses lie on the device, for many steps at a time.
"""

import threading
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from moelaws.text.batches import Windows
from moelaws.training.step import TrainingStep

# Steps that are made one by one before the recording: the optimiser makes its moments, libraries their workspaces.
_WARM_UP = 3

# One recording at a time: another thread's first steps would take memory that is being recorded.
_RECORDING = threading.Lock()


class ReplayedSteps:
    """Steps of one model on its CUDA device, many at a call.

    Several threads may each have one; they share the device as kernels leave room on it.

    Args:
        take_step: the step, not compiled.
        shape: of a batch: sequences, context + 1.
        device: where the model is.
        length: steps at a call, at most.
    """

    def __init__(
        self, take_step: TrainingStep, shape: tuple[int, int], device: torch.device, length: int = 128
    ) -> None:
        self.length = length
        self._take_step = take_step
        self._begun = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._ids = torch.zeros(length, *shape, dtype=torch.int64, device=device)
        self._rates, self._losses, self._norms = (torch.zeros(length, device=device) for _ in range(3))
        self._place = torch.zeros(1, dtype=torch.int64, device=device)

    def __call__(self, batches: Sequence[Windows], rates: Sequence[float]) -> tuple[list[float], list[float]]:
        """Take as many steps as there are batches.

        Args:
            batches: token ids, sequences x (context + 1) each.
            rates: the learning rate of each step.

        Returns:
            Cross-entropy of each batch in nats per token, and the norms of the gradients before clipping. After a step
            where either is not finite, what follows means nothing.
        """
        count = len(batches)
        self._ids[:count].copy_(torch.from_numpy(np.stack(batches)))
        self._rates[:count].copy_(torch.tensor(rates))
        self._place.zero_()
        made = 0
        if not self._begun:
            with _RECORDING:
                while made < min(_WARM_UP, count):
                    self._step()
                    made += 1
                self._graph = self._record()
            self._begun = True
        again = self._step if self._graph is None else self._graph.replay
        for _ in range(made, count):
            again()
        return self._losses[:count].tolist(), self._norms[:count].tolist()

    def _step(self) -> None:
        ids = self._ids.index_select(0, self._place).squeeze(0)
        loss, norm = self._take_step.without_waiting(ids, self._rates.index_select(0, self._place).squeeze(0))
        self._losses.index_copy_(0, self._place, loss.float().view(1))
        self._norms.index_copy_(0, self._place, norm.float().view(1))
        self._place += 1

    def _record(self) -> torch.cuda.CUDAGraph | None:
        """What ``_step`` starts, without its being done; nothing where a kernel of this device cannot be recorded."""
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads train meanwhile; what they do is no part of the graph.
            with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
                self._step()
        except RuntimeError as error:
            warnings.warn(f"steps are made one by one, which is slower: {error}", stacklevel=2)
            return None
        return graph
