"""Do experts divide the domains of a text among themselves?"""

import json
from itertools import combinations

import numpy as np
import pandas as pd


def domain_distances(probes: pd.DataFrame) -> pd.DataFrame:
    """How differently the routers treat two domains.

    Args:
        probes: what ``runs.probed.read_probes`` returns; the rows of the probe ``text`` are used.

    Returns:
        One row a routed model, pair of domains and layer: the model's columns, ``domains``, ``layer`` and
        ``distance``, the total variation distance between the loads: the share of one domain's choices that would
        have to go to other experts to be distributed like the other's.
    """
    rows = []
    texts = probes[(probes["probe"] == "text") & (probes["n_experts"] > 1)]
    for _, own in texts.groupby("run", sort=False):
        loads = {row["domain"]: np.array(json.loads(row["expert_load"])) for _, row in own.iterrows()}
        for one, other in combinations(loads, 2):
            apart = np.abs(loads[one] - loads[other]).sum(axis=1) / 2
            rows += [
                own.iloc[0].to_dict() | {"domains": f"{one}, {other}", "layer": layer, "distance": float(distance)}
                for layer, distance in enumerate(apart, 1)
            ]
    return pd.DataFrame(rows)
