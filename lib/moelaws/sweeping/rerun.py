"""Recorded runs trained again from their own rows: does the table say what this code finds?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from moelaws import __version__
from moelaws.config import ModelConfig, TrainConfig
from moelaws.field import described
from moelaws.provenance import machine
from moelaws.runs import pooled_noise, seed_spread
from moelaws.runs.configured import with_later_columns
from moelaws.sweeping.executors import check_device
from moelaws.text.text import load_text
from moelaws.training.record import run_of
from moelaws.training.train import TrainingResult, train

_STANDARD_DEVIATIONS = 3


@dataclass(frozen=True)
class Rerun:
    """One recorded run beside itself.

    Attributes:
        row: what the table says.
        result: what came out now, the model included.
        noise: standard deviation of the loss over seeds at the run's budget; NaN where the table shows none.
    """

    row: dict[str, Any]
    result: TrainingResult
    noise: float

    @property
    def loss(self) -> float:
        """The loss found now; NaN for a run that diverged."""
        return self.result.validation.loss if self.result.validation else math.nan

    @property
    def equal(self) -> bool:
        """Whether outcome and loss are the recorded ones, bit by bit: what the same machine and versions must give."""
        return self.result.status == self.row["status"] and (
            self.loss == self.row["loss"] or (math.isnan(self.loss) and math.isnan(self.row["loss"]))
        )

    @property
    def differs(self) -> dict[str, tuple[str, str]]:
        """What decides the last bits and is another than when the row was made: recorded, and now.

        A release adds floating-point numbers in the same order from its first commit to its last; a row of another
        release is equal at the commit that its ``code_version`` names, and here within chance.
        """
        now = {
            "moelaws": __version__, "torch": torch.__version__, "machine": machine(), "device": self.result.device,
            "threads": self.result.threads,
        }  # fmt: skip
        release = str(self.row.get("code_version", "")).partition("+")[0]
        row = self.row | {"moelaws": release, "torch": self.row.get("torch_version", "")}
        before = {name: str(row.get(name, "")) for name in now}
        return {name: (before[name], str(value)) for name, value in now.items() if before[name] != str(value)}

    @property
    def agrees(self) -> bool:
        """Whether it is equal, or nearer than three standard deviations of the seed: what any machine must give."""
        return self.equal or abs(self.loss - self.row["loss"]) <= _STANDARD_DEVIATIONS * self.noise


def rerun(runs: pd.DataFrame, table: pd.DataFrame, device: str = "auto") -> Iterator[Rerun]:
    """Train recorded runs again, one thread, one at a time.

    Args:
        runs: the rows to train.
        table: the whole table they come from; its seeds say how large chance is.
        device: ``auto``, ``cpu`` or ``cuda``.

    Yields:
        Each run beside itself, in order.

    Raises:
        ConfigError, CorpusError: a row names a run, or a text, that cannot be had here.
        WorkersError: no such device.
    """
    check_device(device)
    finished = with_later_columns(table[table["status"] == "finished"])
    rows = [{str(name): value for name, value in record.items()} for record in runs.to_dict("records")]
    for row, run in [(row, run_of(row)) for row in rows]:
        text = load_text(run.corpus, run.model.vocab_size)
        yield Rerun(row, train(run, text, device=device), _noise(finished, row))


def _noise(finished: pd.DataFrame, row: dict[str, Any]) -> float:
    """Standard deviation over seeds of the other runs at the row's budget, or of all if it has none."""
    others = finished[finished["run_id"] != row["run_id"]]
    near = others[others["budget"] == row["budget"]] if "budget" in others else others
    recipe = [field.name for kind in (ModelConfig, TrainConfig) for field in described(kind) if field.name != "seed"]
    return pooled_noise(seed_spread(near if len(near) else others, [*recipe, "corpus_sha256"]))
