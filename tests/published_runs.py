"""Runs that follow a published law, so that a fit of them has a known answer."""

import numpy as np
import pandas as pd

from moelaws.laws import LAWS

YUN = {"A": 120.0, "B": 0.6, "C": 400.0, "F": 1.2, "d": -0.0006, "alpha": 0.3, "beta": 0.4, "gamma": 0.28,
       "E_start": 1.9, "E_max": 300.0}  # fmt: skip
FLOORED = {"A": 43.5, "alpha": 0.2, "beta": 0.074, "gamma": -0.004, "c": 1.6}


def truth(name):
    each = LAWS[name]
    if each.published:
        return dict(next(iter(each.published.values())))
    source = {"yun2024": YUN, "floored": FLOORED, "interacting": FLOORED}.get(name)
    source = source or LAWS["clark2022"].published["s-base"]
    return {letter: source[letter] for letter in each.parameter_names}


def runs_of(name, n=150, noise=0.01, seed=0):
    """Runs that follow a published law, with noise on ln L."""
    rng = np.random.default_rng(seed)
    each = LAWS[name]
    size = np.exp(rng.uniform(np.log(3e7), np.log(1e10), n))
    tokens = np.exp(rng.uniform(np.log(1e9), np.log(3e11), n))
    table = {
        "active_params": size, "total_params": size, "dense_params": size, "non_embedding_params": size,
        "nonzero_params": size, "tokens": tokens, "train_flops": 6 * size * tokens,
        "dense_tokens": np.exp(rng.uniform(np.log(1e9), np.log(1e11), n)),
        "n_experts": rng.choice([1.0, 2, 4, 8, 16, 32, 64, 128, 256, 512], n),
        "sparsity": rng.choice([0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98], n),
        "granularity": rng.choice([1.0, 2, 4, 8, 16], n),
        "activation_ratio": 1 / rng.choice([2.0, 4, 8, 16, 32, 64, 128], n),
    }  # fmt: skip
    later = np.random.default_rng([seed, 1])  # a source of their own, so that the columns above stay as they were
    table |= {"top_k": later.choice([1.0, 2, 4, 8], n), "shared_experts": later.choice([0.0, 1, 2], n)}
    if {"active_params", "total_params"} <= set(each.columns(table).values()):
        table["active_params"] = size / later.choice([1.0, 2, 4, 8, 16], n)
    table = {column: table[column] for column in each.columns(table).values()}
    return pd.DataFrame(table | {each.target: each.predict(truth(name), table) * np.exp(noise * rng.normal(size=n))})
