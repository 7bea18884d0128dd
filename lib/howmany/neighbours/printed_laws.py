"""What the printed laws of the neighbours say, where their authors had runs."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from moelaws.charts.tables import readable
from moelaws.laws import law


def leverage_table(
    budgets: tuple[float, ...] = (1e18, 1e20, 1e22), granularity: float = 12, ratios: tuple[int, ...] = (8, 32, 64, 128)
) -> pd.DataFrame:
    """What the printed law says in the range of its runs."""
    tian = law("tian2025")
    values = tian.published["table2"]
    rows = [
        {"C": f"{budget:.0e}"} | {
            f"1 of {ratio}": float(tian.predict(
                values, {"activation_ratio": [1 / ratio], "granularity": [granularity], "train_flops": [budget]}
            )[0]) for ratio in ratios
        } for budget in budgets
    ]  # fmt: skip
    return readable(pd.DataFrame(rows).set_index("C"), "{:.2f}")


def leverage_zero(granularity: float, ratio: float = 64) -> float:
    """Budget below which the printed law has a mixture lose to dense models, FLOPs."""
    tian = law("tian2025")
    values = tian.published["table2"]
    log_c = np.linspace(8, 24, 3201)
    about = {"activation_ratio": np.full_like(log_c, 1 / ratio), "granularity": np.full_like(log_c, granularity)}
    found = tian.predict(values, about | {"train_flops": 10**log_c})
    return float(10 ** np.interp(0.0, np.log(np.asarray(found)), log_c))


def composition_table(sizes: Mapping[str, float]) -> pd.DataFrame:
    """What the printed law has best: active experts, their shared share, and the active share of all parameters."""
    zhao = law("zhao2025")
    values = zhao.published["all"]
    rows = []
    for name, total in sizes.items():
        active_G, share_S = np.linspace(1, 16, 301), np.linspace(0, 0.9, 181)
        grid_G, grid_S = np.meshgrid(active_G, share_S, indexing="ij")
        about = {"total_params": total, "active_params": total * 0.3, "tokens": 1e12}
        losses = np.asarray(
            zhao.predict(values, about | {"top_k": grid_G * (1 - grid_S), "shared_experts": grid_G * grid_S})
        )
        at_G, at_S = np.unravel_index(losses.argmin(), losses.shape)
        best_G, best_S = active_G[at_G], share_S[at_S]
        ratios = np.geomspace(0.02, 1, 2001)
        split = {"top_k": best_G * (1 - best_S), "shared_experts": best_G * best_S, "tokens": 1e12}
        curve = np.asarray(zhao.predict(values, split | {"total_params": total, "active_params": total * ratios}))
        rows.append({
            "total parameters": name, "active experts": best_G, "of them shared": best_S,
            "active parameters of all": ratios[int(curve.argmin())],
        })  # fmt: skip
    table = pd.DataFrame(rows).set_index("total parameters")
    return readable(table, "{:.0%}", {"active experts": "{:.1f}"})


def wan_tokens(budget: float) -> float:
    """Tokens that Wan et al. would train on at a budget."""
    wan = law("wan2026")
    return float(wan.predict(wan.published["optimal"], {"train_flops": budget}))
