"""Abnar's claims, one by one: words of each study, sentences that contradict each other, and the slope of the loss."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.abnar import loss_slopes, verdicts
from howmany.claims import Claim
from howmany.figures.verdict_words import (
    fitted_observed,
    slope_by_budget,
    slope_table,
    verdict_grid,
    verdict_points,
    verdict_sums,
)
from howmany.page import listed, verdict_cell
from howmany.study import TEXT
from howmany.verdict import DECIDED, SAYS_NOTHING, Finding, Judged
from howmany.verdicts.abnar_court import Court
from howmany.verdicts.placebo import KINDS

LANGUAGE = "synthetic language"

OPPOSED = (
    ("s-by-c", "s-by-c-discussion"),
    ("na-by-c", "na-by-c-intro"),
    ("na-faster-absolute", "na-faster-relative"),
)
"""Claims that cannot both be true."""

_WORDS = ("reproduced", "partly", "contradicted", "not resolved", "not testable here")


def study_table(found: Court) -> pd.DataFrame:
    """The studies: budgets, runs, and what was left out."""
    return pd.DataFrame(
        {
            "study": study.name,
            "budgets": ", ".join(f"{each.budget:.2g}" for each in study.landscapes),
            "runs": str(len(study.runs)) if len(study.runs) else "-",
            "left out": "; ".join(f"{c:.2g}: {why}" for c, why in study.left_out.items()) or "-",
        }
        for study in found.columns.values()
    )


def placebo_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Which placebo each claim with a rule is asked of besides; texts are HTML."""
    kinds = [kind for kind in KINDS if any(claim.placebo == kind for claim in claims)]
    return pd.DataFrame(
        {
            "placebo": escape(kind),
            "what is in it": escape(KINDS[kind]),
            "claims": _asked(claim.words for claim in claims if claim.placebo == kind),
        }
        for kind in kinds
    )


def verdict_tables(found: Court) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row a claim, a column a study: the word, behind which measurement and reason unfold; texts are HTML.

    Returns:
        The claims of which our runs say something, and all others.
    """
    table = pd.DataFrame(
        {"claim": f"{escape(claim.statement)} ({escape(claim.where)})" + _remark(claim)}
        | {name: _cell(found.judged[name][k], name == found.own) for name in found.columns}
        for k, claim in enumerate(found.claims)
    )
    says = [each.word in DECIDED and not each.silent for each in found.judged[found.text]]
    return table[says], table[[not each for each in says]]


def verdict_numbers(found: Court) -> dict[str, Any]:
    """How often each word was given, what is contradicted, and how far the paper's budgets lie above ours."""
    numbers: dict[str, Any] = {}
    for key, name in (("text", TEXT), ("syn", LANGUAGE), ("law", found.own)):
        if name not in found.judged:
            continue
        numbers |= {f"av_{key}_{word.replace(' ', '_')}": f"{len(found.given(name, word))}" for word in _WORDS}
        numbers |= {
            f"av_{key}_says_nothing": f"{len(found.silent(name))}",
            f"av_{key}_which_nothing": listed(found.silent(name), between="; "),
            f"av_{key}_which_reproduced": listed(found.given(name, "reproduced"), between="; "),
        }
    logs = {name: np.log10([each.budget for each in study.landscapes]) for name, study in found.columns.items()}
    theirs, here = logs[found.own], logs[found.text]
    law_against = found.against(found.own)
    return numbers | {
        "av_claims": f"{len(found.claims)}",
        "av_silent": f"{sum(not c.quantity for c in found.claims)}",
        "av_nearest": f"{theirs.min() - here.max():.0f}",
        "av_farthest": f"{theirs.max() - here.min():.0f}",
        "av_text_against": listed(found.against(found.text), between="; "),
        "av_law_against": listed(law_against, between="; "),
        "av_both_against": listed((name for name in found.against(found.text) if name in law_against), between="; "),
        "av_second": _second(found),
    }


def sum_figure(found: Court) -> alt.LayerChart:
    """How many claims got which word, by study: the chapter on one screen."""
    said = found.judged[found.text]
    decided = sum(each.word in DECIDED for each in said)
    return verdict_sums(
        found.judged,
        title=f"{decided} of {len(said)} claims get a clear word from {found.text}; {len(found.silent(found.text))} of "
        "these words a placebo gets too",
        description="How many claims each study reproduces, contradicts or leaves open, and on how many a placebo gets "
        "the same word.",
    )


def word_grid(found: Court) -> alt.FacetChart:
    """A mark for each claim and budget, a panel a study."""
    agree, asked = len(found.given(found.text, "reproduced")), sum(bool(j.findings) for j in found.judged[found.text])
    return verdict_grid(
        verdict_points(dict(found.judged)),
        title=f"{agree} of {asked} claims reproduced on {found.text}, and by no placebo",
        description="A mark for each claim and budget, its shape and colour the verdict, a panel for each study; faint "
        "where a placebo gets the same word.",
    )


def foreseen(found: Court) -> alt.LayerChart | None:
    """Eq. 6 fitted below the highest sparsity: its losses against those observed, there and below (Fig. 6)."""
    study = found.columns[found.text]
    if study.law is None:
        return None
    parts = (("fitted to", study.seen), ("highest sparsity, not fitted to", study.unseen))
    table = pd.concat(runs.assign(part=name, fitted=study.law.predict(runs)) for name, runs in parts)
    said = found.by_key(found.text).get("law-forecasts-s")
    return fitted_observed(
        table,
        title="Eq. 6 against the runs; at the unseen sparsity: " + (said.word if said else "not asked"),
        description="Loss under the fitted law against the loss of each run, on the diagonal where both are equal.",
    )


def opposed(found: Court) -> pd.DataFrame:
    """Claims that cannot both be true, with each study's word."""
    by_key = {name: found.by_key(name) for name in found.columns}
    asked = by_key[found.own]
    return pd.DataFrame(
        {"claim": f"{asked[key].claim.statement} ({asked[key].claim.where})"}
        | {name: by_key[name][key].text for name in found.columns}
        for pair in OPPOSED
        for key in pair
        if key in asked
    )


def slope_figure(found: Court) -> alt.FacetChart:
    """The slope of the lowest loss against sparsity by budget, a panel a study."""
    slopes = pd.concat(slope_table(study.name, loss_slopes(study)) for study in found.columns.values())
    here, law = (_moves(found.by_key(name).get("slope-by-c")) for name in (found.text, found.own))
    return slope_by_budget(
        slopes,
        title=f"With C the gain from sparsity {here} here, {law} in the paper's law",
        description="Nats per doubling of the number of experts against the training budget, with 95 percent "
        "intervals, a panel for each study.",
    )


def slope_numbers(found: Court) -> dict[str, Any]:
    """How the slope changes with the budget, here and under the paper's law, and whether the two clash."""
    here, law = (found.by_key(name).get("slope-by-c") for name in (found.text, found.own))
    measured, printed = (judged.findings[0] if judged and judged.findings else None for judged in (here, law))
    gains, loses = _sides(measured)
    more = printed is not None and printed.value > 0
    if gains and not more:
        clash = (
            "The two need not clash: at tiny budgets each expert sees few tokens, and what it can hold grows with "
            "them; near a floor of the loss all differences shrink. Neither is a slope that does not depend on the "
            "budget."
        )
    elif gains or loses:
        clash = "Both move the same way, and neither is a slope that does not depend on the budget."
    else:
        clash = "Until the runs say which way, the law stands alone against the sentence."
    worth = "a larger budget makes experts worth"
    return {
        "av_slope": (measured.text or measured.open) if measured else "not to be had",
        "av_slope_means": f"{worth} more" if gains else f"{worth} less" if loses else "the runs do not say which way",
        "av_law_slope": (printed.text or printed.open) if printed else "not to be had",
        "av_law_means": "more" if more else "less",
        "av_clash": clash,
        "av_slope_word": here.text if here else "not asked",
    }


def multiplier_table(found: Court) -> pd.DataFrame:
    """What a mixture is worth in compute, by study and budget: one of 8, one of 32 and the sparsest."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for name in found.columns:
        by_key = found.by_key(name)
        for key, column in (("multiplier-8", "1 of 8"), ("multiplier-32", "1 of 32"), ("multiplier", "the sparsest")):
            for each in by_key[key].findings if key in by_key else ():
                rows.setdefault((name, each.where), {})[column] = each.text or each.open
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("-")
    return table.rename_axis(["study", "dense budget"]) if len(table) else table


def finding_numbers(found: Court) -> dict[str, Any]:
    """The chapter's finding, in the words of its first screen."""
    by_key = found.by_key(found.text)
    largest = {
        key: by_key[key].findings[-1].text
        for key in ("na-by-s", "multiplier")
        if key in by_key and by_key[key].findings
    }
    return {
        "av_active_factor": largest.get("na-by-s", "not to be had"),
        "av_worth": largest.get("multiplier") or "not to be had",
        "av_says_nothing": f"{SAYS_NOTHING} sparsity",
    }


def solution_numbers(found: Court) -> dict[str, Any]:
    """The word on the opposite of a claim, by study."""
    mine = [replace(c, key="mine", direction="rises") for c in found.claims if c.key == "na-by-s"]
    answers = (f"{study.name}: {verdicts(mine, study)[0].word}" for study in found.columns.values() if mine)
    return {"av_solution": "; ".join(answers)}


def _asked(names: Iterable[str]) -> str:
    known = [escape(name) for name in names]
    return f"<details><summary>{len(known)}</summary>{'; '.join(known)}</details>"


def _remark(claim: Claim) -> str:
    # What a reader must know of a claim that is judged; of the others it is the reason.
    if not claim.note or not claim.quantity:
        return ""
    return f"<details><summary><small>how it is read</small></summary><small>{escape(claim.note)}</small></details>"


def _cell(found: Judged, own: bool) -> str:
    if not found.findings and found.claim.quantity and own:
        return "-"
    numbers = [escape(f"{each.where}: {each.text}") for each in found.findings if each.text]
    return verdict_cell(found, escape(found.reason), *numbers)


def _second(found: Court) -> str:
    if LANGUAGE not in found.columns:
        return "The synthetic language's runs are not recorded yet; its column is empty until they are."
    both = zip(found.judged[found.text], found.judged[LANGUAGE], strict=True)
    pairs = [(a.word, b.word) for a, b in both if a.findings and b.findings]
    same = sum(a == b for a, b in pairs)
    return f"The synthetic language leads to the same word at {same} of the {len(pairs)} claims that both can be asked."


def _moves(found: Judged | None) -> str:
    """What the slope of the loss, which is below zero where experts gain, does as the budget grows."""
    if found is None or not found.findings or found.findings[0].open:
        return "is not to be had"
    if found.word in ("reproduced", "not resolved"):
        return "stays" if found.word == "reproduced" else "changes no certain way"
    return "shrinks" if found.findings[0].value < 0 else "grows"


def _sides(measured: Finding | None) -> tuple[bool, bool]:
    """Whether the slope, as a share of its mean, surely grows with the budget, and whether it surely shrinks."""
    return (False, False) if measured is None else (measured.low > 0, measured.high < 0)
