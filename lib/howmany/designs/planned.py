"""Runs of a sweep before they are made, as a table: all that laws ask of a run but its loss."""

from collections.abc import Iterable

import pandas as pd

from moelaws.counting import count_parameters
from moelaws.sweeping.sweep import SweepRun


def planned(runs: Iterable[SweepRun]) -> pd.DataFrame:
    """The columns of a run table that are known before a run is made.

    No ``run_id``: it hangs on the fingerprint of the text, which a sweep looks up when it begins.
    """
    rows = []
    for each in runs:
        model, parameters = each.run.model, count_parameters(each.run.model)
        rows.append(
            {
                "budget": each.budget,
                "corpus": each.run.corpus,
                "d_model": model.d_model,
                "n_layers": model.n_layers,
                "n_experts": model.n_experts,
                "top_k": model.top_k,
                "granularity": model.granularity,
                "sparsity": model.sparsity,
                "total_params": parameters.total,
                "active_params": parameters.active,
                "non_embedding_params": parameters.total_non_embedding,
                "tokens": each.run.steps * each.run.batch_tokens,
                "train_flops": each.train_flops,
                "seed": each.run.train.seed,
            }
        )
    return pd.DataFrame(rows)
