"""Bytes of a number, by what a program keeps of a model at which precision."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from moelaws.counting import Parameters
from moelaws.quote import listed

PrecisionName = Literal["fp32", "bf16", "fp8", "int4-experts"]


@dataclass(frozen=True)
class Precision:
    """Bytes of one number. Scales of quantised blocks are not counted; they add 3 % to 13 % to four-bit weights.

    Attributes:
        always: weights that every token passes.
        experts: weights of routed experts.
        cache: keys and values.
        activations: what moves between layers.
    """

    always: float = 2.0
    experts: float = 2.0
    cache: float = 2.0
    activations: float = 2.0

    @classmethod
    def of(cls, bytes_per_value: "float | Precision") -> "Precision":
        """The same for everything, where one number is given."""
        if isinstance(bytes_per_value, Precision):
            return bytes_per_value
        return cls(bytes_per_value, bytes_per_value, bytes_per_value, bytes_per_value)

    def weights(self, parameters: Parameters) -> float:
        """Bytes of all weights."""
        return (parameters.total - parameters.experts) * self.always + parameters.experts * self.experts


PRECISIONS: Mapping[PrecisionName, Precision] = MappingProxyType(
    {
        "fp32": Precision(4, 4, 4, 4),
        "bf16": Precision(),
        "fp8": Precision(always=1, experts=1),
        "int4-experts": Precision(experts=0.5),
    }
)
"""By name. ``fp8``: all weights in one byte, as DeepSeek-V3 was published; ``int4-experts``: routed experts in four
bits and the rest in bf16, as gpt-oss and Kimi K2 Thinking were. Cache and activations stay in bf16."""


def precision_of(name: str) -> Precision:
    """Look a precision up by name.

    Raises:
        ValueError: no such precision.
    """
    for known, precision in PRECISIONS.items():
        if known == name:
            return precision
    raise ValueError(f"no precision {name!r}; there are {listed(PRECISIONS)}")
