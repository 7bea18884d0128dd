"""Run tables as strangers have them, with known laws beneath: what the cold path and the tests of choices are tried on.

A table of mixtures has sizes, experts and tokens of three budgets and more, losses by a law of the literature's kinds
with a smooth error of its own, the noise of seeds, and runs that a wrong learning rate spoilt, a few by much.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

import moelaws as ml

_EXPERTS = np.array([1, 2, 4, 8, 16, 32, 64, 128])


@dataclass(frozen=True)
class World:
    """What makes the losses of a table.

    Attributes:
        law: a published law of the library; empty for this book's own kind.
        size: active parameters, least and most.
        tokens: least and most; equal for a table that was trained on one number of them.
    """

    law: str
    size: tuple[float, float]
    tokens: tuple[float, float]


WORLDS = {
    "separate": World("abnar2025", (3e7, 1.2e9), (8e8, 6e10)),
    "joint": World("ludziejewski2025", (4e7, 1e9), (1e9, 6e10)),
    "saturating": World("clark2022", (1.5e7, 1.3e9), (1.3e11, 1.3e11)),
    "reading": World("", (2e7, 2e9), (5e8, 8e10)),
}
"""Total size and sparsity beside tokens; experts that change every exponent; experts that saturate, on one number of
tokens; and larger models that make more of a token, as this book's own runs have it."""


def _losses(law: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    if not law:
        return _reading(columns["active_params"], columns["n_experts"], columns["tokens"])
    chosen = ml.law(law)
    known = columns | {"dense_params": columns["active_params"], "sparsity": 1 - 1 / columns["n_experts"]}
    return np.asarray(chosen.predict(next(iter(chosen.published.values())), known))


def _reading(n_a: np.ndarray, e: np.ndarray, d: np.ndarray) -> np.ndarray:
    return 1.6 + 220 * e**-0.09 / n_a**0.3 + 520 * (n_a / 1e8) ** 0.06 * e**0.012 / d**0.29


def _one(n_a: float, e: float, d: float) -> float:
    return float(_reading(np.array([n_a]), np.array([e]), np.array([d]))[0])


def mixtures(world: str, n: int = 193, asked: int = 28, seed: int = 0) -> pd.DataFrame:
    """A table of ``n`` mixtures, and ``asked`` more with more FLOPs than any of them (column ``asked``).

    Args:
        world: a key of ``WORLDS``.
        n: runs that may be made.
        asked: runs that are to be foretold.
        seed: of everything that is drawn.
    """
    rng = np.random.default_rng([seed, sorted(WORLDS).index(world)])
    made = WORLDS[world]
    many = 6 * (n + asked)
    low, high = np.log(made.size)
    size = np.exp(np.round(rng.uniform(low, high, many) * 3) / 3)  # a ladder of models, not a size a run
    least, most = np.log(made.tokens)
    tokens = np.exp(rng.uniform(least, most, many))
    experts = rng.choice(_EXPERTS, many)
    # Nobody trains the largest model on the fewest tokens.
    sane = (tokens / size > 4) & (tokens / size < 12_000)
    size, tokens, experts = (each[sane][: n + asked] for each in (size, tokens, experts))
    total = size * (1 + 0.65 * (experts - 1))
    columns = {"active_params": size, "total_params": total, "n_experts": experts.astype(float), "tokens": tokens}
    clean = np.log(_losses(made.law, columns))
    x, y, z = (np.log(each) - np.log(each).mean() for each in (size, tokens, experts.astype(float)))
    # No law is right: a smooth error of some tenths of a per cent.
    wave = rng.normal(size=6)
    clean += 0.004 * (
        wave[0] * np.sin(0.9 * x + wave[1]) + wave[2] * np.sin(0.7 * y + wave[3]) + 0.5 * wave[4] * x * z / 4
    )
    noise = rng.choice([0.003, 0.005, 0.008]) * rng.normal(size=len(x))
    # A rate that is off costs by its square; one in twenty-five is far off.
    off = np.abs(rng.normal(0, 0.25, len(x))) + (rng.random(len(x)) < 0.04) * rng.uniform(0.8, 1.6, len(x))
    table = pd.DataFrame({
        "active_params": size.round(), "total_params": total.round(), "n_experts": experts, "top_k": 1,
        "tokens": tokens.round(), "train_flops": 6 * size * tokens, "learning_rate": 3e-4 * np.exp(off),
        "loss": np.exp(clean + noise + 0.02 * off**2).round(4),
    })  # fmt: skip
    largest = table["train_flops"].rank(method="first") > len(table) - asked
    return table.assign(asked=largest).sort_values("train_flops", kind="stable").reset_index(drop=True)


def many_runs() -> pd.DataFrame:
    """A study of mixtures at five budgets, two seeds at some points, in nobody's names: 240 runs."""
    rng = np.random.default_rng(11)
    rows = []
    for budget in 3.0 ** np.arange(5) * 1e18:
        for experts in (1, 4, 16, 64):
            for size in 6e7 * (budget / 1e18) ** 0.5 * np.geomspace(0.2, 4, 9):
                tokens = budget / 6 / size
                for seed in range(1, 4 if abs(np.log(size / 6e7 / (budget / 1e18) ** 0.5)) < 0.3 else 2):
                    loss = _one(size, experts, tokens)
                    rows.append({
                        "name": f"moe-{len(rows):03d}", "n_active": round(size),
                        "n_total": round(size * (1 + 0.7 * (experts - 1))),
                        "num_experts": experts, "top_k": 1, "tokens": round(tokens), "flops": budget, "seed": seed,
                        "val_loss": round(loss * float(np.exp(0.003 * rng.normal())), 4),
                    })  # fmt: skip
    return pd.DataFrame(rows)


def messy() -> str:
    """A sheet that several people kept: semicolons and decimal commas, units in heads, words, runs that crashed."""
    rng = np.random.default_rng(5)
    lines = ["Run;Model size (M);Active (M);Experts;Tokens (B);Final val loss;State;LR;Comment"]
    for i, (size, experts) in enumerate((s, e) for s in (25, 50, 110, 240, 520) for e in (1, 8, 32)):
        for tokens in (2, 6, 20):
            loss = _one(size * 1e6, experts, tokens * 1e9)
            loss *= np.exp(0.004 * rng.normal())
            state = "crashed" if rng.random() < 0.06 else "finished"
            said = "" if state == "crashed" else f"{loss:.3f}".replace(".", ",")
            note = ["", "", "", "rerun after node failure", "lr too high?"][rng.integers(5)]
            total = f"{size * (1 + 0.7 * (experts - 1)):.1f}".replace(".", ",")
            lines.append(f"exp_{i}_{tokens}B;{total};{size};{experts};{tokens};{said};{state};3e-4;{note}")
    return "\r\n".join(lines) + "\r\n"


def twelve() -> pd.DataFrame:
    """Twelve runs of two budgets, dense and with eight experts."""
    rows = []
    for budget in (1e18, 6e18):
        for experts in (1, 8):
            for size in 7e7 * (budget / 1e18) ** 0.5 * np.array([0.5, 1.0, 2.0]):
                tokens = budget / 6 / size
                loss = _one(size, experts, tokens)
                rows.append({"loss": round(loss, 3), "active_params": size,
                             "total_params": size * (1 + 0.7 * (experts - 1)),
                             "n_experts": experts, "top_k": 1, "tokens": tokens})  # fmt: skip
    return pd.DataFrame(rows)


def no_budgets() -> pd.DataFrame:
    """Checkpoints of a few models, as a training log leaves them: sizes, tokens and losses, no FLOPs and no budgets."""
    rng = np.random.default_rng(3)
    rows = []
    for size in (7e7, 1.6e8, 4.1e8, 1e9):
        for tokens in np.geomspace(2e9, 3e11, 14):
            loss = _one(size, 1.0, tokens)
            rows.append(
                {
                    "params": int(size),
                    "tokens": int(tokens),
                    "loss": round(loss * float(np.exp(0.002 * rng.normal())), 4),
                }
            )
    return pd.DataFrame(rows)
