"""Yun's printed numbers recomputed: words for each, by whose fault they are off, and numbers that need no law."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.claims import Claim
from howmany.page import listed
from howmany.yun import recompute, settings, verdicts
from howmany.yun_claims import Judged, word_on
from moelaws.charts.serving_costs import verdict_ranges
from moelaws.optimum.forecaster import Forecaster
from moelaws.serving.forecasters import ours, published

Verdicts = Mapping[str, Sequence[Judged]]
"""Law -> what it says of each claim that it can be asked."""

_LAYERS = (11.5, 12)
"""Parameters of a layer over the width squared, as two of the paper's sentences have them."""


def forecasters() -> dict[str, Forecaster]:
    """The published laws that can be asked, and the fit of our own runs where there is one."""
    own = ours()
    return {"Abnar et al.": published("abnar2025"), "joint law": published("ludziejewski2025")} | (
        {} if own is None else {"our runs": own}
    )


def judged(claims: Iterable[Claim], laws: Mapping[str, Forecaster]) -> dict[str, list[Judged]]:
    """Every claim under every law."""
    return {name: verdicts(claims, name, forecaster) for name, forecaster in laws.items()}


def verdict_table(claims: Sequence[Claim], found: Verdicts) -> pd.DataFrame:
    """A row a claim: what is printed, and each law's word with what it comes to; texts are HTML."""
    return pd.DataFrame(
        {
            "claim": f"{claim.statement} ({claim.where}; {claim.key})",
            "printed": span(claim.low, claim.high),
        }
        | {name: _cell(_of(each, claim)) for name, each in found.items()}
        for claim in claims
    )


def verdict_numbers(claims: Sequence[Claim], found: Verdicts) -> dict[str, Any]:
    """How many claims each law reproduces and contradicts, and on which all agree."""
    words = {name: [j.word for j in each] for name, each in found.items()}
    both = [set(group) for group in zip(*words.values(), strict=True)]
    numbers = {
        f"yv_{key}_{word}": f"{words[name].count(word)}"
        for key, name in (("ab", "Abnar et al."), ("jo", "joint law"))
        for word in ("reproduced", "partly", "contradicted")
    }
    agreed = (
        c.key for c in claims if all(getattr(_of(each, c), "word", "") == "reproduced" for each in found.values())
    )
    return numbers | {
        "yv_claims": f"{len(claims)}",
        "yv_open": f"{sum(not c.quantity for c in claims)}",
        "yv_all_yes": f"{sum(words == {'reproduced'} for words in both)}",
        "yv_agreed": listed(agreed, none=""),
        "yv_all_no": f"{sum(words == {'contradicted'} for words in both)}",
    }


def range_figure(found: Verdicts) -> alt.FacetChart:
    """Recomputed numbers as multiples of what is printed, by law, over all assumptions."""
    lines = []
    for name, each in found.items():
        for j in each:
            middle = (j.claim.low * j.claim.high) ** 0.5 if j.claim.low > 0 else np.nan
            if np.isfinite(middle) and j.claim.tolerance and j.least > 0:
                lines.append(
                    {
                        "claim": j.claim.key,
                        "law": name,
                        "word": j.word,
                        "low": j.low / middle,
                        "high": j.high / middle,
                        "least": j.least / middle,
                        "most": j.most / middle,
                        "printed_low": j.claim.low / middle / 1.03,
                        "printed_high": j.claim.high / middle * 1.03,
                    }
                )
    return verdict_ranges(
        pd.DataFrame(lines),
        title="The size of an effect belongs to the law",
        description="Recomputed claims as multiples of the printed number, by law, with the range over assumptions.",
    )


def causes(claims: Iterable[Claim], laws: Mapping[str, Forecaster]) -> pd.DataFrame:
    """For costs at equal loss: what each law says, and the assumption under which it comes nearest to the print."""
    rows = []
    costs = [claim for claim in claims if claim.quantity.startswith("same_loss_cost")]
    for name, forecaster in laws.items():
        places = settings(forecaster)
        for claim in costs:
            values = {n: float(np.mean(recompute(claim, s))) for n, s in places.items()}
            central = values.pop("central")
            off = {n: abs(np.log(value**2 / claim.low / claim.high)) for n, value in values.items()}
            nearest = min(off, key=lambda n: off[n])
            rows.append(
                {
                    "law": name,
                    "claim": claim.key,
                    "printed": span(claim.low, claim.high),
                    "central": f"{central:.2f}",
                    "at best": f"{values[nearest]:.2f}",
                    "under": nearest,
                }
            )
    return pd.DataFrame(rows).set_index(["law", "claim"])


def flops_ratios(low: float, high: float) -> pd.DataFrame:
    """The same ratio of FLOPs as three of the paper's sections have it, from the shares that one of them prints."""
    said = {
        "from Section 5.1": f"{1 / high:.2f} to {1 / low:.2f}",
        "abstract": "2.5 to 3.5",
        "introduction": "2.4 to 4.3",
    }
    return pd.Series(said, name="times the FLOPs").to_frame()


def depths(table1_file: str) -> pd.DataFrame:
    """The models of the paper's Table 1, with the number of layers that their parameters would make."""
    printed = pd.read_csv(table1_file)
    per_square = printed["printed_params"] / printed["d_model"] ** 2
    heads = printed["d_model"] / printed["n_heads"]
    table = pd.DataFrame(
        {
            "printed layers": printed["printed_layers"].astype(str),
            "parameters over d squared": per_square.map("{:.1f}".format),
        }
        | {f"layers, at {unit} each": (per_square / unit).map("{:.2f}".format) for unit in _LAYERS}
        | {"width over heads": heads.map("{:.1f}".format)}
    )
    return table.set_index(printed["name"])


def depth_numbers(table1_file: str) -> dict[str, Any]:
    """The whole numbers of layers that the parameters make, and those that are printed."""
    printed = pd.read_csv(table1_file)
    per_square = printed["printed_params"] / printed["d_model"] ** 2
    whole = (next(round(v / unit) for unit in _LAYERS if abs(v / unit - round(v / unit)) < 1e-6) for v in per_square)
    return {
        "yv_depths": ", ".join(map(str, whole)),
        "yv_said": ", ".join(map(str, printed["printed_layers"])),
    }


def solution_numbers(laws: Mapping[str, Forecaster], found: Verdicts) -> dict[str, Any]:
    """Answers of the exercises: a claim of one's own, and words under other tolerances."""
    mine = Claim(
        "mine", "here", "32 cost more than 16", "same_loss_cost", 1, 9, "",
        base_experts=16, experts=(32,), budgets=(5.15e21,),
    )  # fmt: skip
    answers = [verdicts([mine], name, forecaster)[0] for name, forecaster in laws.items()]
    some = [j for each in found.values() for j in each if j.claim.tolerance]
    changed = {
        tolerance: sum(
            word_on(replace(j.claim, tolerance=tolerance), np.array([j.low, j.high])) != j.word for j in some
        )
        for tolerance in (0.0, 0.25)
    }
    return {
        "yv_solution_1": "; ".join(f"{a.law}: {a.word} ({a.low:.2f})" for a in answers),
        "yv_solution_2a": f"{changed[0.0]}",
        "yv_solution_2b": f"{changed[0.25]}",
        "yv_solution_2c": f"{sum(j.claim.tolerance > 0 for j in some)}",
    }


def span(low: float, high: float) -> str:
    """A range in three digits, or one number where both are the same; nothing where there is none."""
    if not np.isfinite(low):
        return ""
    ends = f"{low:.3g}", f"{high:.3g}"
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _of(found: Iterable[Judged], claim: Claim) -> Judged | None:
    return next((j for j in found if j.claim is claim), None)


def _cell(found: Judged | None) -> str:
    if found is None:
        return "not determinable"
    range_ = span(found.low, found.high)
    said = f"<b>{found.word}</b>" + (f": {range_}" if range_ else "")
    return f"{said}, {found.agree:.0%} agree"
