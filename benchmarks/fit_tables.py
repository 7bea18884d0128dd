"""Synthetic run tables with a known truth, for the fitting benchmarks."""

import numpy as np

from moelaws.laws import LAWS, Law

# Laws that published no coefficients get plausible ones: Yun's shapes from Hoffmann and Clark, baselines from Clark.
_YUN = {"A": 120.0, "B": 0.6, "C": 400.0, "F": 1.2, "d": -0.0006, "alpha": 0.3, "beta": 0.4, "gamma": 0.28,
        "E_start": 1.9, "E_max": 300.0}  # fmt: skip
_FLOORED = {"A": 43.5, "alpha": 0.2, "beta": 0.074, "gamma": -0.004, "c": 1.6}


def truth(name: str) -> dict[str, float]:
    """Coefficients to make tables with: the first published set."""
    law = LAWS[name]
    if law.published:
        return dict(next(iter(law.published.values())))
    source = {"yun2024": _YUN, "floored": _FLOORED, "interacting": _FLOORED}.get(name)
    source = source or LAWS["clark2022"].published["s-base"]
    return {letter: source[letter] for letter in law.parameter_names}


def make_table(
    name: str, n_runs: int, noise: float, seed: int, jitter: float = 0.0
) -> tuple[Law, dict[str, np.ndarray], dict[str, float]]:
    """A table of runs that follow a law.

    Args:
        name: the law.
        n_runs: rows.
        noise: standard deviation of ln L around the law.
        seed: of the design, the jitter and the noise.
        jitter: relative standard deviation of the coefficients around the published ones.

    Returns:
        The law, the columns it needs and its target, and the true parameters.
    """
    rng = np.random.default_rng([seed, n_runs])
    law, params = LAWS[name], truth(name)
    params = {key: value * float(np.exp(jitter * rng.standard_normal())) for key, value in params.items()}
    size = np.exp(rng.uniform(np.log(3e7), np.log(1e10), n_runs))
    tokens = np.exp(rng.uniform(np.log(1e9), np.log(3e11), n_runs))
    table = {
        "active_params": size, "total_params": size, "dense_params": size, "non_embedding_params": size,
        "nonzero_params": size, "tokens": tokens, "train_flops": 6 * size * tokens,
        "dense_tokens": np.exp(rng.uniform(np.log(1e9), np.log(1e11), n_runs)),
        "n_experts": rng.choice([1.0, 2, 4, 8, 16, 32, 64, 128, 256, 512], n_runs),
        "sparsity": rng.choice([0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98], n_runs),
        "granularity": rng.choice([1.0, 2, 4, 8, 16], n_runs),
        "activation_ratio": 1 / rng.choice([2.0, 4, 8, 16, 32, 64, 128], n_runs),
    }  # fmt: skip
    later = np.random.default_rng([seed, n_runs, 1])  # of its own: columns that came later change no earlier table
    table |= {"top_k": later.choice([1.0, 2, 4, 8], n_runs), "shared_experts": later.choice([0.0, 1, 2], n_runs)}
    table = {column: table[column] for column in law.columns(table).values()}
    table[law.target] = law.predict(params, table) * np.exp(noise * rng.standard_normal(n_runs))
    return law, table, params
