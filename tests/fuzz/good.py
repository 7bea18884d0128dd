"""What is right: tables, a fit and a configuration as the library itself writes them; the rest is made of these."""

import numpy as np
import pandas as pd

_LAW = {"E": 1.7, "A": 400.0, "B": 2000.0, "a": 0.34, "b": 0.37}
FIT = {
    "law": "formula", "formula": "E + A/N^a + B/D^b", "params": _LAW,
    "columns": {"N": "total_params", "D": "tokens"}, "ranges": {"train_flops": [1e17, 1e19]},
    "replicates": {name: [value, 1.01 * value, 0.99 * value] for name, value in _LAW.items()},
}  # fmt: skip
"""What ``moelaws fit --json`` writes, in short."""

CONFIG = {
    "model_type": "olmoe", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 1,
    "max_position_embeddings": 32, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    "tie_word_embeddings": True, "moelaws": {"granularity": 1},
}  # fmt: skip


def runs() -> pd.DataFrame:
    """A table of runs at three budgets, made from a law, with noise."""
    rng = np.random.default_rng(0)
    rows = []
    for budget in (1e17, 1e18, 1e19):
        for experts in (1, 4, 16):
            for size in np.geomspace(0.1, 10, 7) * budget**0.5 / 30:
                tokens = budget / (6 * size)
                loss = _LAW["E"] + _LAW["A"] / size ** _LAW["a"] / experts**0.05 + _LAW["B"] / tokens ** _LAW["b"]
                rows.append(
                    {
                        "loss": loss * np.exp(rng.normal(0, 0.005)), "total_params": size * experts,
                        "active_params": size, "tokens": tokens, "train_flops": budget, "budget": budget,
                        "n_experts": experts, "top_k": 1, "seed": 0, "status": "finished",
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def recorded() -> pd.DataFrame:
    """A table as ``moelaws sweep`` writes it, of runs of a moment."""
    from moelaws.config import ModelConfig, RunConfig, TrainConfig

    rows = []
    for seed in range(3):
        run = RunConfig(
            ModelConfig(64, 16, 1, 2, 32, 4, context=32),
            TrainConfig(tokens=512, batch_sequences=4, validation_tokens=512, seed=seed),
            "zipf-markov:V=64",
        )
        rows.append(
            {"run_id": run.run_id, "status": "finished", "loss": 3.5 + seed / 10, "train_flops": 1e9, "budget": 1e9}
            | run.model.to_dict() | run.train.to_dict() | {"corpus": run.corpus, "corpus_sha256": run.corpus_sha256}
        )  # fmt: skip
    return pd.DataFrame(rows)
