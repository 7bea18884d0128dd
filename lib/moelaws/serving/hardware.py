"""Accelerators by their data sheets, and what programs reach of them: the second is an assumption, and is named."""

import re
from dataclasses import dataclass, replace
from typing import Any

from moelaws.quote import listed, shown
from moelaws.serving.roofline import Machine

NUMBERS = ("flops_per_second", "bytes_per_second", "memory_bytes", "link_bytes_per_second", "dollars_per_hour")
"""Fields of an accelerator that are numbers."""


@dataclass(frozen=True)
class Accelerator:
    """One accelerator, as its maker describes it, or one of your own.

    Attributes:
        name: key of the preset.
        flops_per_second: peak of dense bf16 matrix products.
        bytes_per_second: peak memory bandwidth.
        memory_bytes: memory.
        link_bytes_per_second: what it sends to the others of its node, in one direction.
        dollars_per_hour: rent. A round number of ours, not a quotation; always give your own.
        source: of the other numbers.

    Raises:
        ValueError: a number that is not above 0.
    """

    name: str
    flops_per_second: float
    bytes_per_second: float
    memory_bytes: float
    link_bytes_per_second: float
    dollars_per_hour: float
    source: str = "own"

    def __post_init__(self) -> None:
        for name in NUMBERS:
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"hardware {self.name!r}: {name} = {getattr(self, name)!r}, expected a number > 0")


_A100 = "NVIDIA A100 Tensor Core GPU data sheet (SXM)"
_H100 = "NVIDIA H100 Tensor Core GPU data sheet (SXM); dense, half of the figure with sparsity"
_H200 = "NVIDIA H200 Tensor Core GPU data sheet (SXM); dense, half of the figure with sparsity"
_B200 = "NVIDIA HGX B200 data sheet, per GPU; dense, half of the figure with sparsity"
_MI300X = "AMD Instinct MI300X data sheet; seven Infinity Fabric links of 64 GB/s"
_L40S = "NVIDIA L40S data sheet; dense, half of the figure with sparsity; no NVLink: PCIe 4.0 x16"
_4090 = "NVIDIA Ada GPU architecture white paper, bf16 with fp32 accumulation, dense; PCIe 4.0 x16"
_LAPTOP = "MacBook Pro with Apple M4: bandwidth by Apple; 1280 lanes x 2 x 1.47 GHz of its GPU; one device, no link"

ACCELERATORS = {
    each.name: each
    for each in (
        Accelerator("a100-40gb", 312e12, 1555e9, 40e9, 300e9, 1.5, _A100),
        Accelerator("a100-80gb", 312e12, 2039e9, 80e9, 300e9, 2.0, _A100),
        Accelerator("h100", 989e12, 3350e9, 80e9, 450e9, 3.0, _H100),
        Accelerator("h200", 989e12, 4800e9, 141e9, 450e9, 3.5, _H200),
        Accelerator("b200", 2250e12, 8000e9, 180e9, 900e9, 5.0, _B200),
        Accelerator("mi300x", 1307e12, 5300e9, 192e9, 448e9, 2.5, _MI300X),
        Accelerator("l40s", 362e12, 864e9, 48e9, 32e9, 1.0, _L40S),
        Accelerator("rtx-4090", 165e12, 1008e9, 24e9, 32e9, 0.4, _4090),
        Accelerator("laptop", 3.76e12, 120e9, 32e9, 5e9, 0.1, _LAPTOP),
    )
}
"""Presets, by name; the same rows are in data/published/hardware.csv."""

OWN = "own"
"""Name of hardware that is given by its numbers."""
_PCIE, _RENT = 32e9, 1.0


@dataclass(frozen=True)
class Efficiency:
    """What programs reach, as shares of the data sheet and as overheads. Assumptions, all of them.

    Attributes:
        arithmetic: share of the peak in matrix products of serving.
        bandwidth: share of the peak bandwidth.
        link: share of the link's bandwidth.
        training: share of the peak in training (model FLOPs utilisation).
        overlap: see ``Machine``.
        seconds_per_step: scheduling and sampling.
        seconds_per_layer: launches of a layer.
        seconds_per_routed_layer: routing and sorting, in addition.
        seconds_per_expert: in addition for each expert touched; nothing where one grouped product does them all, tens
            of microseconds where each expert is launched by itself.
        link_seconds: latency of one all-reduce.
    """

    arithmetic: float = 0.6
    bandwidth: float = 0.8
    link: float = 0.7
    training: float = 0.4
    overlap: float = 1.0
    seconds_per_step: float = 2e-3
    seconds_per_layer: float = 2e-5
    seconds_per_routed_layer: float = 3e-5
    seconds_per_expert: float = 0.0
    link_seconds: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("arithmetic", "bandwidth", "link", "training"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ValueError(f"efficiency: {name} = {value!r}, expected a share above 0, at most 1")


TYPICAL = Efficiency()
"""The assumptions of this book."""


def accelerator(name: str, **numbers: float | None) -> Accelerator:
    """Look a preset up by name, in any case, and put numbers of your own in the place of its.

    Args:
        name: ``h100``, ``RTX 4090``; or ``own``, with at least the first three numbers.
        numbers: ``flops_per_second``, ``bytes_per_second``, ``memory_bytes``, ``link_bytes_per_second`` and
            ``dollars_per_hour``, of one device; None leaves the preset's. Without a preset the link is that of
            PCIe 4.0 x16, and the rent a round 1 $ an hour.

    Raises:
        ValueError: no such preset or number, or a number that is not above 0.

    Example:
        >>> accelerator("RTX 4090").memory_bytes / 1e9
        24.0
        >>> accelerator("own", flops_per_second=1e14, bytes_per_second=1e12, memory_bytes=32e9).dollars_per_hour
        1.0
    """
    if unknown := [key for key in numbers if key not in NUMBERS]:
        raise ValueError(f"hardware has no number {shown(unknown[0])}; it has {', '.join(NUMBERS)}")
    given: dict[str, Any] = {key: float(value) for key, value in numbers.items() if value is not None}
    if _bare(name) == OWN:
        if missing := [key for key in NUMBERS[:3] if key not in given]:
            raise ValueError(f"hardware {OWN!r}: no {missing[0]}; expected {', '.join(NUMBERS[:3])}")
        return Accelerator(OWN, **({"link_bytes_per_second": _PCIE, "dollars_per_hour": _RENT} | given))
    for each in ACCELERATORS.values():
        if _bare(each.name) == _bare(name):
            return replace(each, **given)
    raise ValueError(f"no hardware {shown(name)}; there are {listed(ACCELERATORS, name, 12)} and {OWN!r}")


def _bare(name: str) -> str:
    """A name as it is compared: RTX 4090, rtx-4090 and NVIDIA RTX_4090 are one."""
    return re.sub("[^a-z0-9]", "", name.lower()).removeprefix("nvidia").removeprefix("geforce").removeprefix("amd")


def node(device: Accelerator, gpus: int = 1, efficiency: Efficiency = TYPICAL) -> Machine:
    """``gpus`` accelerators that share every layer.

    Args:
        device: one of them.
        gpus: how many, G.
        efficiency: what programs reach.
    """
    if gpus < 1:
        raise ValueError(f"gpus = {gpus}: expected a whole number >= 1")
    return Machine(
        flops_per_second=gpus * device.flops_per_second * efficiency.arithmetic,
        bytes_per_second=gpus * device.bytes_per_second * efficiency.bandwidth,
        row_bytes_per_second=gpus * device.bytes_per_second * efficiency.bandwidth,
        routed_row_bytes_per_second=gpus * device.bytes_per_second * efficiency.bandwidth,
        overlap=efficiency.overlap,
        seconds_per_step=efficiency.seconds_per_step,
        seconds_per_layer=efficiency.seconds_per_layer,
        seconds_per_routed_layer=efficiency.seconds_per_routed_layer,
        seconds_per_expert=efficiency.seconds_per_expert,
        gpus=gpus,
        link_bytes_per_second=device.link_bytes_per_second * efficiency.link,
        link_seconds=efficiency.link_seconds,
    )
