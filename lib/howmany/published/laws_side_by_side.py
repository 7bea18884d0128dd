"""One question put to all laws: who can answer, what they say, how flat the choice is, and what it is worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from moelaws.charts.tables import readable
from moelaws.laws import LAWS, Law, law
from moelaws.optimum.family import Family, Memory, glu, proportional, switch
from moelaws.optimum.forecaster import Forecaster
from moelaws.optimum.optimum import best_experts, best_size, compute_multiplier, least_compute

Forecasters = Mapping[str, Forecaster]

ROUGH, EXACT, JOINT = "Abnar, rough", "Abnar, GLU", "joint law"

_CLARK, _TIAN = "Clark, 130B tokens", "Tian, G = 12"
_CLARK_TOKENS = 130e9
_EXPERTS = {"n_experts", "sparsity", "activation_ratio"}
_TOKENS = {"tokens", "train_flops"}


def able() -> pd.DataFrame:
    """Every law, what it knows, and whether that is experts and tokens."""
    rows = {
        name: {
            "knows": ", ".join(v.symbol for v in one.variables),
            "experts": _knows(one, _EXPERTS),
            "tokens or budget": _knows(one, _TOKENS),
            "coefficients": len(one.published),
        }
        for name, one in LAWS.items()
    }
    return pd.DataFrame(rows).T


def forecasters() -> dict[str, Forecaster]:
    """The laws that can answer, each with the family it was fitted to; Abnar's also with the rough one."""
    families: dict[str, tuple[str, Family]] = {
        ROUGH: ("abnar2025", proportional()),
        EXACT: ("abnar2025", glu()),
        JOINT: ("ludziejewski2025", switch()),
    }
    return {
        name: Forecaster(law(one), law(one).published["table3"], family) for name, (one, family) in families.items()
    }


def answers(laws: Forecasters, flops: float, choices: Sequence[int], memory: Memory) -> pd.DataFrame:
    """The best number of experts by each law, without a bound and within a memory.

    Args:
        laws: the laws.
        flops: training budget.
        choices: numbers of experts.
        memory: what the model must fit into.
    """
    rows = {}
    for name, forecaster in laws.items():
        for label, bound in (("none", None), (f"{memory.bytes / 1e9:g} GB", memory)):
            best = best_experts(forecaster, flops, choices, memory=bound).best
            rows[name, label] = {
                "E": best.n_experts,
                "N (B)": best.total_params / 1e9,
                "N_a (B)": best.active_params / 1e9,
                "D / N_a": best.tokens_per_param,
                "loss": best.loss,
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.rename_axis(["law", "memory"]).reset_index("memory")


def answer_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """The answers without and with the memory, and the tokens a parameter of the latter."""
    free = table[table["memory"] == "none"]
    held = table[table["memory"] != "none"]
    numbers = {"si_free": _said(free["E"]), "si_held": _said(held["E"])}
    for key, name in (("ab", ROUGH), ("gl", EXACT), ("jo", JOINT)):
        numbers[f"si_{key}_tokens"] = f"{held.loc[name, 'D / N_a']:.0f}"
    return numbers


def _said(experts: "pd.Series[float]") -> str:
    """The answers of several laws: one number if they agree, else each with its law."""
    if experts.nunique() == 1:
        return f"{experts.iloc[0]:.0f}"
    return ", ".join(f"{number:.0f} ({name})" for name, number in experts.items())


def excess(laws: Forecasters, flops: float, choices: Sequence[int], memory: Memory) -> pd.DataFrame:
    """Loss of each number of experts above the best one's, by law."""
    columns = {}
    for name, forecaster in laws.items():
        candidates = best_experts(forecaster, flops, choices, memory=memory).candidates
        least = min(c.loss for c in candidates)
        columns[name] = {f"E = {c.n_experts:.0f}": c.loss - least for c in candidates}
    return pd.DataFrame(columns)


def worth(laws: Forecasters, flops: float, choices: Sequence[int]) -> pd.DataFrame:
    """How many times its compute a mixture is worth, by law and number of experts."""
    ratios = [e for e in choices if 1 < e <= 64]
    values = [(name, e, compute_multiplier(f, flops, e).value) for name, f in laws.items() for e in ratios]
    values += [(_CLARK, e, _clark(flops, e)) for e in ratios]
    values += [(f"Tian, G = {g}", e, _tian(flops, g, e)) for g in (2, 12) for e in ratios]
    return pd.DataFrame(values, columns=["law", "ratio", "multiplier"])


def worth_numbers(table: pd.DataFrame, above: pd.DataFrame, choices: Sequence[int]) -> dict[str, Any]:
    """What most experts are worth by each law, and how flat the choice is from 32 on."""
    flat = above.loc[[f"E = {e}" for e in choices if 32 <= e <= 128]]
    top = table[table["ratio"] == table["ratio"].max()].set_index("law")["multiplier"]
    return {
        "si_flat": f"{flat.max().max():.3f}",
        "si_most": int(table["ratio"].max()),
        "si_top_abnar": f"{top[ROUGH]:.0f}",
        "si_top_joint": f"{top[JOINT]:.1f}",
        "si_top_tian": f"{top[_TIAN]:.1f}",
        "si_top_clark": f"{top[_CLARK]:.1f}",
        "si_factor": f"{top[ROUGH] / top[JOINT]:.1f}",
    }


def shares(laws: Forecasters, budgets: Sequence[float]) -> pd.DataFrame:
    """The share of the FLOPs of 4 experts that 16 need for the same loss, two at work; a column a budget."""
    rows = {}
    for name, forecaster in laws.items():
        targets = {c: best_size(forecaster, c, 4, top_k=2).loss for c in budgets}
        rows[name] = {
            f"{c:.0e}": least_compute(forecaster, loss, 16, top_k=2).train_flops / c for c, loss in targets.items()
        }
    return readable(pd.DataFrame(rows).rename_axis("C of the 4 experts").T, "{:.1%}")


def _knows(one: Law, wanted: set[str]) -> str:
    return "yes" if any(wanted & set(v.columns) for v in one.variables) else "no"


def _clark(flops: float, e: int) -> float:
    clark, size = law("clark2022"), flops / (6 * _CLARK_TOKENS)
    params = clark.published["s-base"]
    target = clark.predict(params, {"dense_params": size, "n_experts": e})
    return float(clark.solve_for("N", target, params, {"n_experts": 1}, (1e6, 1e16))) / size


def _tian(flops: float, granularity: float, e: int) -> float:
    tian = law("tian2025")
    run = {"activation_ratio": 1 / e, "granularity": granularity, "train_flops": flops}
    return float(tian.predict(tian.published["table2"], run))
