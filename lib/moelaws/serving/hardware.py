"""Accelerators by their data sheets, and what programs reach of them: the second is an assumption, and is named."""

from dataclasses import dataclass

from moelaws.serving.roofline import Machine


@dataclass(frozen=True)
class Accelerator:
    """One accelerator, as its maker describes it.

    Attributes:
        name: key of the preset.
        flops_per_second: peak of dense bf16 matrix products.
        bytes_per_second: peak memory bandwidth.
        memory_bytes: memory.
        link_bytes_per_second: what it sends to the others of its node, in one direction.
        dollars_per_hour: rent. A round number of ours, not a quotation; always give your own.
        source: of the other numbers.
    """

    name: str
    flops_per_second: float
    bytes_per_second: float
    memory_bytes: float
    link_bytes_per_second: float
    dollars_per_hour: float
    source: str


_A100 = "NVIDIA A100 Tensor Core GPU data sheet (SXM)"
_H100 = "NVIDIA H100 Tensor Core GPU data sheet (SXM); dense, half of the figure with sparsity"
_H200 = "NVIDIA H200 Tensor Core GPU data sheet (SXM); dense, half of the figure with sparsity"

ACCELERATORS = {
    each.name: each
    for each in (
        Accelerator("a100-40gb", 312e12, 1555e9, 40e9, 300e9, 1.5, _A100),
        Accelerator("a100-80gb", 312e12, 2039e9, 80e9, 300e9, 2.0, _A100),
        Accelerator("h100", 989e12, 3350e9, 80e9, 450e9, 3.0, _H100),
        Accelerator("h200", 989e12, 4800e9, 141e9, 450e9, 3.5, _H200),
    )
}
"""Presets, by name; the same rows are in data/published/hardware.csv."""


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


def accelerator(name: str) -> Accelerator:
    """Look a preset up by name.

    Raises:
        ValueError: no such preset.
    """
    try:
        return ACCELERATORS[name]
    except KeyError:
        raise ValueError(f"no hardware {name!r}; there are {', '.join(sorted(ACCELERATORS))}") from None


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
