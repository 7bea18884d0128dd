"""Options that say on what a model is served, at which precision and with which routing."""

import argparse
from collections.abc import Iterable
from dataclasses import replace

from moelaws.cli.values import number, path, whole
from moelaws.exchange.expert_loads import read_loads
from moelaws.exchange.precision import PRECISIONS, precision_of
from moelaws.serving.cost import Deployment, Roofline, Traffic, deploy, deploy_measured
from moelaws.serving.hardware import ACCELERATORS, OWN, accelerator
from moelaws.serving.touched import Routing, UnevenRouting

_NUMBERS = {
    "flops": ("flops_per_second", 1.0, 1.0, "FLOP/s of bf16 matrix products, peak"),
    "bandwidth": ("bytes_per_second", 1.0, 1.0, "bytes/s of its memory, peak"),
    "memory_gb": ("memory_bytes", 1e9, 1e-9, "its memory, in GB"),
    "link": ("link_bytes_per_second", 1.0, 1.0, "bytes/s that it sends to the others"),
    "dollars_per_hour": ("dollars_per_hour", 1.0, 0.0, "its rent"),
}
"""Option -> field of an accelerator, unit, what every machine has more of, meaning."""


_MEMORY_GB = 8.0
_CHEAP = 0.1
"""Memory of a machine of one's own, and dollars an hour, where none are given."""


def add_hardware(parser: argparse.ArgumentParser, usual: str, gpus: int) -> None:
    """Add the options; ``usual`` says what is meant where no hardware is named, ``gpus`` how many of it."""
    parser.add_argument(
        "--hardware", metavar="NAME", help=f"{', '.join(ACCELERATORS)}, in any case, or {OWN} (default {usual})"
    )
    for option, (_, _, least, what) in _NUMBERS.items():
        parser.add_argument(
            f"--{option.replace('_', '-')}", type=number(least, 1e30), metavar="X",
            help=f"{what}, of one device, in place of the preset's",
        )  # fmt: skip
    parser.add_argument("--gpus", type=whole(1, 1024), default=gpus, help=f"devices for one copy (default {gpus})")
    parser.add_argument("--timings", type=path, metavar="FILE", help="serve on the machine that made this timing table")
    parser.add_argument(
        "--precision",
        choices=tuple(PRECISIONS),
        help="of a published model's weights (default bf16; fp32 on --timings)",
    )
    routing = parser.add_mutually_exclusive_group()
    routing.add_argument(
        "--evenness", type=number(0, 1), metavar="X",
        help="entropy of the experts' loads over ln E: routing that is not even (default 1)",
    )  # fmt: skip
    routing.add_argument(
        "--loads", type=path, metavar="FILE", help="loads of the experts, a row a layer: CSV or JSON, counts or shares"
    )


def routing_of(options: argparse.Namespace) -> Routing:
    """Even routing, or what the options say of it."""
    if options.loads is not None:
        return UnevenRouting(loads=read_loads(options.loads))
    if options.evenness is not None:
        return UnevenRouting(evenness=options.evenness)
    return "distinct"


def deployment_of(
    options: argparse.Namespace, traffic: Traffic, hardware: str, gpus: tuple[int, ...]
) -> tuple[Deployment, str]:
    """Where to serve, and what to say about how well it is known.

    Args:
        options: of the command.
        traffic: lengths of prompts and answers.
        hardware: what is meant where none is named.
        gpus: numbers of devices.

    Raises:
        ValueError: no such hardware, a number that is none, a file of timings that cannot be used.
    """
    size = precision_of(options.precision) if options.precision else None
    if options.timings is None:
        given = {
            field: None if getattr(options, option) is None else getattr(options, option) * unit
            for option, (field, unit, _, _) in _NUMBERS.items()
        }
        device = accelerator(options.hardware or hardware, **given)
        return deploy(device, gpus, traffic=traffic, bytes_per_value=size or 2, rule=routing_of(options)), ""
    refuse(options, ("hardware", "flops", "bandwidth", "link"), "the machine is the one that made the --timings")
    # Only this path needs SciPy's optimisers; every other command starts faster without them.
    from moelaws.runs.timings import read_timings
    from moelaws.serving.calibration import calibrate

    found = calibrate(read_timings(options.timings))
    calibrated = (
        f"{options.timings.name}: decode steps of unseen configurations predicted within "
        f"{found.held_out.median:.0%} (median) and {found.held_out.p90:.0%} (nine in ten)\n"
    )
    memory = (_MEMORY_GB if options.memory_gb is None else options.memory_gb) * 1e9
    rent = _CHEAP if options.dollars_per_hour is None else options.dollars_per_hour
    machine = deploy_measured(options.timings.stem, found.machine, memory, rent, traffic, size or 4)
    latency = Roofline({1: found.machine}, traffic, size or 4, routing_of(options))
    return replace(machine, latency=latency), calibrated


def copies_of(most: int) -> tuple[int, ...]:
    """Numbers of devices that are tried: powers of two."""
    return tuple(2**i for i in range(most.bit_length()) if 2**i <= most)


def refuse(options: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """Refuse options that would be passed over.

    Raises:
        ValueError: one of them is given.
    """
    for name in names:
        if getattr(options, name) not in (None, False):
            raise ValueError(f"--{name.replace('_', '-')}: {why}")
