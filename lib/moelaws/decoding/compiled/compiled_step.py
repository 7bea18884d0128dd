"""The compiled step: made once, then read from the disk."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from moelaws.decoding.compiled.decode_step import step
from moelaws.kernels.compilation import compiled
from moelaws.models.norm import NORM_EPSILON


@cache
def compiled_step() -> Callable[..., Any]:
    """``decode_step.step`` as machine code for this processor: compiled in seconds, or found on the disk."""
    made = compiled({step: "(int64[::1], int64)"}, "the decoder", [Path(__file__).parent], epsilon=NORM_EPSILON)
    return made[step]
