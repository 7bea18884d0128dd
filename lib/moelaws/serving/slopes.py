"""How the time of a step changes with the constants of a machine: what a calibration descends by."""

import numpy as np

from moelaws.serving.roofline import Array, Machine, Work, phase_parts


def step_slopes(machine: Machine, work: Work) -> dict[str, Array]:
    """Derivatives of ``step_seconds`` by the logs of the constants, by their names.

    Where arithmetic and reading take equally long, there is a kink, and its slope is that of the side where reading
    takes longer. Constants that no calibration fits (``row_bytes_per_second`` and those of links) are left out.
    """
    hidden, sums = 1 - machine.overlap, np.zeros((3, *np.shape(work.rows)))
    of_cache: Array = 0.0
    for name, (arithmetic, near, far) in phase_parts(machine, work).items():
        longer = arithmetic > near + far
        by_reading = np.where(longer, hidden, 1.0)
        sums += arithmetic * np.where(longer, 1.0, hidden), near * by_reading, far * by_reading
        if name == "cache":
            of_cache = (near + far) * by_reading
    return {
        "flops_per_second": -sums[0],
        "resident_bytes_per_second": -sums[1],
        "bytes_per_second": -sums[2],
        "cache_slowdown": of_cache,
        "routed_row_bytes_per_second": -work.routed_row_bytes / machine.routed_row_bytes_per_second,
        "seconds_per_step": machine.seconds_per_step,
        "seconds_per_layer": machine.seconds_per_layer * work.layers,
        "seconds_per_routed_layer": machine.seconds_per_routed_layer * work.routed_layers,
        "seconds_per_expert": machine.seconds_per_expert * work.routed_layers * work.experts_touched,
        "seconds_per_row": machine.seconds_per_row * work.rows,
    }
