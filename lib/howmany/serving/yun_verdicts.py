"""Yun's printed numbers recomputed: words for each, by whose fault they are off, and numbers that need no law."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.claims import Claim
from howmany.figures.verdict_words import verdict_sums
from howmany.measured.experts import NEEDED, with_plan
from howmany.page import listed, verdict_cell
from howmany.verdict import Judged, judge
from howmany.verdicts.own_family import Own, placebos_of
from howmany.verdicts.own_family import verdicts as by_runs
from howmany.yun import recompute, settings, verdicts
from moelaws.charts.serving_costs import verdict_ranges
from moelaws.optimum.forecaster import Forecaster
from moelaws.runs import read_runs, select
from moelaws.serving.forecasters import published

Verdicts = Mapping[str, Sequence[Judged]]
"""Law, or our runs -> what it says of each claim, in the order of the claims."""

_KEYS = {"ab": "Abnar et al.", "jo": "joint law", "own": "our runs"}

_LAYERS = (11.5, 12)
"""Parameters of a layer over the width squared, as two of the paper's sentences have them."""


def forecasters() -> dict[str, Forecaster]:
    """The published laws that can be asked. Our own law is not: its runs end eight decades below these budgets."""
    return {"Abnar et al.": published("abnar2025"), "joint law": published("ludziejewski2025")}


def own_runs(runs_file: str) -> Own:
    """The book's runs of the paper's own kind, asked within their range."""
    table = read_runs(runs_file, required=NEEDED)
    return Own("our runs", with_plan(select(table, {"did not finish": "status == 'finished'"}).runs))


def judged(claims: Sequence[Claim], laws: Mapping[str, Forecaster], own: Own, placebos: int) -> dict[str, list[Judged]]:
    """Every claim under every law and by our runs, each beside its placebos."""
    found = {name: verdicts(claims, name, forecaster) for name, forecaster in laws.items()}
    return found | {own.name: by_runs(claims, own, placebos_of(own, placebos))}


def verdict_table(claims: Sequence[Claim], found: Verdicts) -> pd.DataFrame:
    """A row a claim: what is printed, and each law's word with what it comes to; texts are HTML."""
    return pd.DataFrame(
        {
            "claim": f"{escape(claim.statement)} ({escape(claim.where)})",
            "printed": _printed(claim),
        }
        | {name: _cell(_of(each, claim)) for name, each in found.items()}
        for claim in claims
    )


def verdict_numbers(claims: Sequence[Claim], found: Verdicts) -> dict[str, Any]:
    """How many claims each law and our runs reproduce and contradict, and on which both laws agree."""
    numbers: dict[str, Any] = {
        "yv_claims": f"{len(claims)}",
        "yv_open": f"{sum(all(_of(each, c).word == 'not testable here' for each in found.values()) for c in claims)}",
    }
    for key, name in _KEYS.items():
        said = found[name]
        for word in ("reproduced", "partly", "contradicted", "not resolved", "not testable here"):
            kept = [j for j in said if j.word == word and not j.silent]
            numbers[f"yv_{key}_{word.replace(' ', '_')}"] = f"{len(kept)}"
        numbers[f"yv_{key}_nothing"] = f"{sum(j.silent for j in said)}"
    laws = [found["Abnar et al."], found["joint law"]]
    for key, word in (("yes", "reproduced"), ("no", "contradicted")):
        both = [c.words for c in claims if all(_of(each, c).word == word and not _of(each, c).silent for each in laws)]
        numbers |= {f"yv_all_{key}": f"{len(both)}", f"yv_which_{key}": listed(both, between="; ")}
    return numbers | {"yv_ours_asked": f"{sum(bool(j.findings) for j in found['our runs'])}"}


def finding_numbers(found: Verdicts) -> dict[str, Any]:
    """What 16 experts cost at the loss of four under each law, over all assumptions: the chapter's first number."""
    numbers = {}
    for key, name in list(_KEYS.items())[:2]:
        said = next((j for j in found[name] if j.claim.key == "same-loss-16-4"), None)
        numbers[f"yv_{key}_16"] = _text(said) if said else "not asked"
    return numbers


def sum_figure(found: Verdicts) -> alt.LayerChart:
    """How many claims got which word, by law and from our runs: the chapter on one screen."""
    laws = {name: said for name, said in found.items() if name != _KEYS["own"]}
    clear = [f"{sum(each.word == 'reproduced' and not each.silent for each in said)}" for said in laws.values()]
    claims = max(len(said) for said in found.values())
    return verdict_sums(
        found,
        title=f"Of {claims} claims the laws reproduce {' and '.join(clear)} that a placebo does not get too",
        description="How many claims each law, and our runs, reproduce, contradict or leave open, and on how many a "
        "placebo gets the same word.",
    )


def range_figure(found: Verdicts) -> alt.FacetChart:
    """Recomputed numbers as multiples of what is printed, by law, over all assumptions."""
    lines = []
    for name, each in found.items():
        for j in each:
            middle = (j.claim.low * j.claim.high) ** 0.5 if j.claim.low > 0 else np.nan
            values = [one for one in j.findings if not one.open]
            if np.isfinite(middle) and j.claim.tolerance and values and min(one.low for one in values) > 0:
                lines.append(
                    {
                        "claim": j.claim.words,
                        "law": name,
                        "word": j.word,
                        "low": min(one.value for one in values) / middle,
                        "high": max(one.value for one in values) / middle,
                        "least": min(one.low for one in values) / middle,
                        "most": max(one.high for one in values) / middle,
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
                    "claim": claim.words,
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
    some = [j for name in laws for j in found[name] if j.claim.tolerance]
    changed = {
        tolerance: sum(judge(replace(j.claim, tolerance=tolerance), j.findings).word != j.word for j in some)
        for tolerance in (0.0, 0.25)
    }
    return {
        "yv_solution_1": "; ".join(f"{a.by}: {a.text} ({_text(a)})" for a in answers),
        "yv_solution_2a": f"{changed[0.0]}",
        "yv_solution_2b": f"{changed[0.25]}",
        "yv_solution_2c": f"{len(some)}",
    }


def span(low: float, high: float) -> str:
    """A range in three digits, or one number where both are the same; nothing where there is none."""
    if not np.isfinite(low):
        return ""
    ends = f"{low:.3g}", f"{high:.3g}"
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _of(found: Iterable[Judged], claim: Claim) -> Judged:
    return next(j for j in found if j.claim.key == claim.key)


def _printed(claim: Claim) -> str:
    return {"falls": "falls", "rises": "rises", "unchanged": "stays"}.get(claim.direction) or span(
        claim.low, claim.high
    )


def _text(found: Judged) -> str:
    """The range of what a claim comes to, and in brackets that over all assumptions, or its interval."""
    known = [one for one in found.findings if not one.open]
    if not known:
        return "; ".join(dict.fromkeys(one.open for one in found.findings))
    middle = span(min(one.value for one in known), max(one.value for one in known))
    least, most = min(one.low for one in known), max(one.high for one in known)
    return middle if least == most else f"{middle} [{span(least, most)}]"


def _cell(found: Judged) -> str:
    return verdict_cell(found, escape(_text(found) if found.findings else found.reason))
