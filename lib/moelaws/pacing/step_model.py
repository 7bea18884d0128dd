"""A device's training steps: seconds a unit of each amount, from measured steps or from a data sheet."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from moelaws.config import ModelConfig
from moelaws.pacing.step_work import CALLS, WORK, seconds_per_amount, step_work, work_table
from moelaws.quote import listed, shown
from moelaws.runs.step_table import read_steps, stepped_model
from moelaws.serving.calibration import Errors
from moelaws.serving.hardware import TYPICAL, Accelerator, Efficiency, accelerator

FEWEST = 12
"""Measured steps that a device's model needs."""

_CALLED = "H200"
"""The recorded device whose calls a data sheet is given."""

_PACKED = Path(__file__).with_name("training_steps.csv")
_RECORDED = Path(__file__).parents[3] / "data" / "timings" / "training_steps.csv"

_BYTES = {"parameters": 58.0, "rows": 100.0, "routed rows": 16.0, "choices": 64.0, "scores": 32.0, "logits": 24.0}
"""Bytes through memory a unit, for a data sheet: mixed precision with AdamW moves 58 a parameter (casts, gradients,
their norm and clipping, two moments); the others are activations in bf16, written once and read twice, and softmaxes in
fp32. Counted by hand for programs that fuse well: what is measured is more."""


class StepError(ValueError):
    """There is no model of a device's steps; the message says why."""


@dataclass(frozen=True)
class StepModel:
    """What training steps take on one device.

    Attributes:
        device: as its table or its data sheet names it.
        seconds_per: amount of ``WORK`` -> seconds a unit.
        source: ``measured`` or ``data sheet``.
        rows: measured steps.
        held_out: errors on each measured step, foreseen from all others; ``None`` for a data sheet.
        unseen_width: errors on all steps of a width, foreseen from the other widths.
        scatter: standard deviation of ln (foreseen / measured), each width left out in turn; 0 where nothing is known.
        widths, tokens: least and most of the measured steps; beyond them the model is continued.
        most_experts: of the measured steps.
    """

    device: str
    seconds_per: Mapping[str, float]
    source: str
    rows: int = 0
    held_out: Errors | None = None
    unseen_width: Errors | None = None
    scatter: float = 0.0
    widths: tuple[float, float] = (0.0, np.inf)
    tokens: tuple[float, float] = (0.0, np.inf)
    most_experts: float = np.inf

    def seconds(self, model: ModelConfig, tokens: float) -> float:
        """Seconds of one step.

        Args:
            model: what is trained.
            tokens: of its batch.
        """
        return sum(self.parts(model, tokens).values())

    def parts(self, model: ModelConfig, tokens: float) -> dict[str, float]:
        """Seconds of one step by amount; they add up to the step."""
        return {name: self.seconds_per.get(name, 0.0) * amount for name, amount in step_work(model, tokens).items()}

    def tax(self, model: ModelConfig, dense: ModelConfig, tokens: float) -> float:
        """How many times as long a step takes as that of another model."""
        return self.seconds(model, tokens) / self.seconds(dense, tokens)

    def beyond(self, model: ModelConfig, tokens: float) -> str:
        """What of a step lies outside those measured, in words; empty where nothing does."""
        asked = (
            ("width", model.d_model, self.widths), ("tokens a step", tokens, self.tokens),
            ("experts", model.n_experts, (1, self.most_experts)),
        )  # fmt: skip
        out = [f"{name} {value:g}" for name, value, (low, high) in asked if not low <= value <= high]
        return f"{' and '.join(out)} outside the steps measured on {self.device}" if out else ""

    def __str__(self) -> str:
        if self.held_out is None or self.unseen_width is None:
            return f"{self.device}: by its data sheet and another device's calls, not measured"
        return (
            f"{self.device}: {self.rows} measured steps, each foreseen from the others to {self.held_out.median:.1%} "
            f"in the median (nine in ten to {self.held_out.p90:.1%}), a width from the other widths to "
            f"{self.unseen_width.median:.1%}"
        )


def fit_steps(steps: pd.DataFrame, device: str) -> StepModel:
    """The model of a device from measured steps, with the errors on steps that it was not fitted to.

    A step's time is a sum of amounts (``WORK``), each in proportion; none takes less than nothing.

    Args:
        steps: from ``read_steps``.
        device: which rows: the whole name or a part that only one device's has, in any case.

    Raises:
        StepError: no such device, several, or fewer than 12 steps of it.
    """
    name = _named(device, steps["device"])
    if name is None:
        raise StepError(
            f"no measured steps of device {shown(device)}; there are {listed(sorted(steps['device'].unique()))}"
        )
    here = steps[steps["device"] == name]
    if len(here) < FEWEST or here["d_model"].nunique() < 2:
        raise StepError(
            f"device {shown(name)}: found {len(here)} steps of {here['d_model'].nunique()} widths, expected {FEWEST} "
            "steps of two widths or more"
        )
    work = work_table((stepped_model(row), float(row["tokens"])) for _, row in here.iterrows())
    seconds = here["steady_ms" if "steady_ms" in here.columns else "step_ms"].to_numpy(float) / 1e3
    each, widths = _left_out(work, seconds, np.arange(len(here))), _left_out(work, seconds, here["d_model"].to_numpy())
    return StepModel(
        device=name,
        seconds_per=dict(zip(WORK, seconds_per_amount(work, seconds).tolist(), strict=True)),
        source="measured",
        rows=len(here),
        held_out=Errors.of(each, seconds),
        unseen_width=Errors.of(widths, seconds),
        scatter=float(np.sqrt(np.mean(np.log(widths / seconds) ** 2))),
        widths=(float(here["d_model"].min()), float(here["d_model"].max())),
        tokens=(float(here["tokens"].min()), float(here["tokens"].max())),
        most_experts=float(here["n_experts"].max()),
    )


def sheet_steps(device: Accelerator, calls: StepModel, efficiency: Efficiency = TYPICAL) -> StepModel:
    """The model of a device that nobody measured, from its data sheet: a roofline without overlap, beside calls.

    Products reach ``efficiency.training`` of the peak, everything else ``efficiency.bandwidth`` of the bandwidth.

    Args:
        device: its data sheet.
        calls: a measured device, whose calls this one is taken to share: no data sheet tells them.
        efficiency: what programs reach.
    """
    a_byte = 1 / (device.bytes_per_second * efficiency.bandwidth)
    seconds_per = {name: size * a_byte for name, size in _BYTES.items()}
    seconds_per |= {"flops": 1 / (device.flops_per_second * efficiency.training)}
    seconds_per |= {name: calls.seconds_per[name] for name in CALLS}
    return StepModel(device.name, {name: seconds_per[name] for name in WORK}, "data sheet")


def step_model(device: str, steps: pd.DataFrame | str | Path | None = None) -> StepModel:
    """What training steps take on a device: measured where it was, else by its data sheet, and said which.

    Args:
        device: a device of the table (``cpu``, ``h200``, or its whole name), or a hardware preset.
        steps: a table of steps, or its file; by default the recorded one.

    Raises:
        StepError: a device that is neither, or too few steps of it.
        RunTableError: a file that is no table of steps.

    Examples:
        >>> import moelaws as ml
        >>> h200 = ml.step_model("h200")
        >>> h200.source, h200.held_out.median < 0.1
        ('measured', True)
        >>> print(ml.step_model("b200"))
        b200: by its data sheet and another device's calls, not measured
    """
    table = recorded_steps() if steps is None else steps if isinstance(steps, pd.DataFrame) else read_steps(steps)
    if _named(device, table["device"]) is not None:
        return fit_steps(table, device)
    try:
        return sheet_steps(accelerator(device), fit_steps(recorded_steps(), _CALLED))
    except ValueError:
        there = listed(sorted(table["device"].unique()))
        raise StepError(
            f"device {shown(device)}: no measured steps (there are those of {there}), and no hardware of that name"
        ) from None


def predict_step_seconds(model: ModelConfig, tokens: float, device: str | StepModel) -> float:
    """Seconds of one training step.

    Args:
        model: what is trained.
        tokens: of its batch.
        device: as in ``step_model``, or what that returns.

    Examples:
        >>> import moelaws as ml
        >>> dense, sparse = (ml.ModelConfig(d_model=128, n_heads=8, d_ff=512, n_experts=e) for e in (1, 64))
        >>> one, many = (ml.predict_step_seconds(each, 8192, "h200") for each in (dense, sparse))
        >>> 1.3 < many / one < 2.5
        True
    """
    return (device if isinstance(device, StepModel) else step_model(device)).seconds(model, tokens)


@cache
def recorded_steps() -> pd.DataFrame:
    """The recorded table of training steps: from the wheel, into which it is packed, or from the clone."""
    return read_steps(_PACKED if _PACKED.exists() else _RECORDED)


def _left_out(work: np.ndarray, seconds: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Seconds of the steps of each group, foreseen from the others'."""
    found = np.empty(len(seconds))
    for each in np.unique(group):
        out = group == each
        found[out] = work[out] @ seconds_per_amount(work[~out], seconds[~out])
    return np.maximum(found, 1e-12)


def _named(device: str, names: pd.Series) -> str | None:
    """The device of a table that is meant: by its whole name, else by a part that only one has.

    Raises:
        StepError: several devices have the part.
    """
    bare = {name: _bare(str(name)) for name in names.unique()}
    asked = _bare(device)
    whole = [name for name, each in bare.items() if each == asked]
    part = [name for name, each in bare.items() if asked and asked in each]
    if not whole and len(part) > 1:
        raise StepError(f"device {shown(device)}: several devices of the table have that name: {listed(part)}")
    found = whole or part
    return str(found[0]) if found else None


def _bare(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
