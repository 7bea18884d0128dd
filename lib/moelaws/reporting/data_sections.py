"""What is in a table, and how much of it is chance."""

import numpy as np
import pandas as pd

from moelaws.charts.pictures.design import NAMES, design
from moelaws.quote import number_of, plain
from moelaws.reporting.analyses import Analyses, interval, number
from moelaws.reporting.page_parts import Figure, Section, Table, figure

_SHOWN = (
    "loss", "budget", "train_flops", "tokens", "total_params", "active_params", "dense_params", "n_experts", "top_k",
    "sparsity", "activation_ratio", "granularity", "seed",
)  # fmt: skip
_PLANES = (("active_params", "tokens"), ("total_params", "tokens"), ("dense_params", "n_experts"))


def table_section(found: Analyses, notes: tuple[str, ...]) -> Section:
    """What is in the table: counts, ranges, a picture of the design, what was derived and what does not agree."""
    runs = found.runs
    finding = f"{number_of(found.all_rows, 'row')}, of which {len(runs)} finished."
    if found.all_rows == len(runs):
        finding = f"{number_of(len(runs), 'run')}, all finished."
    if len(found.budgets) > 1:
        finding += (
            f" They lie at {len(found.budgets)} budgets, from {found.budgets[0]:.3g} to {found.budgets[-1]:.3g} FLOPs."
        )
    rows = [_range(runs, name) for name in _SHOWN if name in runs.columns]
    shown = pd.DataFrame([row for row in rows if row], columns=["column", "distinct", "least", "median", "most"])
    words = [f"{name}: not in the file, derived as {formula}." for name, formula in found.derived.items()]
    others = [str(name) for name in runs.columns if name not in _SHOWN]
    if others:
        listed = ", ".join(plain(name, 40) for name in others[:12])
        words.append(f"Other columns, not used here: {listed}{' and more' if len(others) > 12 else ''}.")
    tables = [Table.of(shown, "Columns that the analyses read")] if len(shown) else []
    return Section("table", "What is in the table", finding, [*notes, *words], tables, _pictures(runs))


def _range(runs: pd.DataFrame, name: str) -> tuple[str, ...] | None:
    values = pd.to_numeric(runs[name], errors="coerce").to_numpy(float)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    ends = (values.min(), float(np.median(values)), values.max())
    return NAMES.get(name, name), str(len(np.unique(values))), *(number(end, ".3g") for end in ends)


def _pictures(runs: pd.DataFrame) -> list[Figure]:
    caption = "The design: each point is a model that was trained, larger where it was trained more than once."
    planes = [(x, y) for x, y in _PLANES if {x, y} <= set(runs.columns) and _varies(runs[x]) and _varies(runs[y])]
    same = {"active_params", "total_params"} <= set(runs.columns) and runs["active_params"].equals(runs["total_params"])
    planes = planes[:1] if same else planes[:2]
    drawn = [figure(design(runs, x, y), caption if i == 0 else "", f"design{i}") for i, (x, y) in enumerate(planes)]
    return [each for each in drawn if each is not None]


def _varies(values: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values) and values.gt(0).all() and values.nunique() > 1)


def noise_section(found: Analyses) -> Section:
    """What chance does to a loss, as far as replicates tell."""
    spread = found.spread
    if not len(spread) or not np.isfinite(found.noise):
        finding = "No design point was run twice, so the table does not tell what chance does to a loss."
        words = ["Differences between single runs cannot be told from chance; two seeds near each optimum would tell."]
        return Section("noise", "Chance", finding, words)
    freedom = int((spread["seeds"] - 1).sum())
    low, high = _chi_ends(found.noise, freedom)
    finding = (
        f"Another seed moves a loss by {found.noise:.4f} nats (one standard deviation, 95 %:"
        f" {interval(low, high, '.4f')}), from {number_of(len(spread), 'point')} run more than once."
    )
    words = [
        f"So the losses of two single runs that differ by less than {2.8 * found.noise:.3f} nats do not differ beyond"
        " chance."
    ]
    tables = []
    by = next((name for name in ("budget", "n_experts") if name in spread.columns and spread[name].nunique() > 1), None)
    if by:
        rows = []
        for value, group in spread.groupby(by):
            degrees = int((group["seeds"] - 1).sum())
            std = float(np.sqrt(np.average(group["std"] ** 2, weights=group["seeds"] - 1)))
            rows.append((number(float(str(value))), str(len(group)), number(std, ".4f"),
                         interval(*_chi_ends(std, degrees), ".4f")))  # fmt: skip
        heads = [NAMES.get(by, by), "points", "std of one run", "95 % interval"]
        tables.append(Table.of(pd.DataFrame(rows, columns=heads), "Noise of one run, in nats per token"))
    return Section("noise", "Chance", finding, words, tables)


def _chi_ends(std: float, freedom: int) -> tuple[float, float]:
    from scipy.stats import chi2  # not above: it takes long to import

    low, high = (std * np.sqrt(freedom / chi2.ppf(p, freedom)) for p in (0.975, 0.025))
    return float(low), float(high)
