"""Abnar's claims, one by one: words of each study, sentences that contradict each other, and the slope of the loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.abnar import loss_slopes, verdicts
from howmany.claims import Claim
from howmany.figures.verdict_words import slope_by_budget, slope_table, verdict_grid, verdict_points
from howmany.page import listed
from howmany.study import Study, study_of_law, study_of_runs
from howmany.verdict import Judged
from moelaws.runs import read_runs
from moelaws.runs.probed import read_probes

NEEDED = ("loss", "budget", "sparsity", "total_params", "active_params", "tokens", "top_k")
"""Columns that a table must have for this chapter."""

TEXT, LANGUAGE = "English and code", "synthetic language"

OPPOSED = (
    ("s-by-c", "s-by-c-discussion"),
    ("na-by-c", "na-by-c-intro"),
    ("na-faster-absolute", "na-faster-relative"),
)
"""Claims that cannot both be true."""

_WORDS = ("reproduced", "partly", "contradicted", "not resolved", "not testable here")


def studies(
    files: Mapping[str, str], probes_file: str, held_out: Sequence[float], refits: tuple[int, int]
) -> dict[str, Study]:
    """The surfaces of every table that exists; the first text's with its probes, where these exist.

    Args:
        files: name of the text -> run table.
        probes_file: probes of the first text's models.
        held_out: budgets that no law is fitted to.
        refits: of each surface, and their seed.
    """
    tables = {name: read_runs(path, required=NEEDED) for name, path in files.items() if Path(path).exists()}
    probed = {name: read_probes(probes_file, tables[name]) for name in list(tables)[:1] if Path(probes_file).exists()}
    return {name: study_of_runs(name, table, *refits, held_out, probed.get(name)) for name, table in tables.items()}


@dataclass(frozen=True)
class Court:
    """All studies, with their verdicts on all claims.

    Attributes:
        claims: the paper's sentences.
        columns: name -> study; the paper's own law is the last.
        judged: name -> verdicts, in the order of the claims.
    """

    claims: Sequence[Claim]
    columns: Mapping[str, Study]
    judged: Mapping[str, Sequence[Judged]]

    @property
    def text(self) -> str:
        """Name of the first text."""
        return next(iter(self.columns))

    @property
    def own(self) -> str:
        """Name of the paper's own law."""
        return list(self.columns)[-1]

    def by_key(self, name: str) -> dict[str, Judged]:
        """A study's verdicts by the claim's key."""
        return {j.claim.key: j for j in self.judged[name]}

    def against(self, name: str) -> list[str]:
        """Keys of the claims that a study contradicts."""
        return [j.claim.key for j in self.judged[name] if j.word == "contradicted"]


def court(claims: Sequence[Claim], found: Mapping[str, Study]) -> Court:
    """Put every claim to every study, and to the paper's own law."""
    own = study_of_law()
    columns = {**found, own.name: own}
    return Court(claims, columns, {name: verdicts(claims, study) for name, study in columns.items()})


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


def verdict_table(found: Court) -> pd.DataFrame:
    """A row a claim, a column a study: word, measurement, reason; texts are HTML."""
    return pd.DataFrame(
        {"claim": f"{escape(claim.statement)} ({claim.where}; <i>{claim.key}</i>)" + _remark(claim)}
        | {name: _cell(found.judged[name][k], name == found.own) for name in found.columns}
        for k, claim in enumerate(found.claims)
    )


def verdict_numbers(found: Court) -> dict[str, Any]:
    """How often each word was given, what is contradicted, and how far the paper's budgets lie above ours."""
    numbers: dict[str, Any] = {}
    for key, name in (("text", TEXT), ("syn", LANGUAGE), ("law", found.own)):
        words = [j.word for j in found.judged.get(name, [])]
        numbers |= {f"av_{key}_{word.replace(' ', '_')}": f"{words.count(word)}" for word in _WORDS}
    logs = {name: np.log10([each.budget for each in study.landscapes]) for name, study in found.columns.items()}
    theirs, here = logs[found.own], logs[found.text]
    law_against = found.against(found.own)
    return numbers | {
        "av_claims": f"{len(found.claims)}",
        "av_silent": f"{sum(not c.quantity for c in found.claims)}",
        "av_nearest": f"{theirs.min() - here.max():.0f}",
        "av_farthest": f"{theirs.max() - here.min():.0f}",
        "av_text_against": listed(found.against(found.text)),
        "av_law_against": listed(law_against),
        "av_both_against": listed(key for key in found.against(found.text) if key in law_against),
        "av_second": _second(found),
    }


def word_grid(found: Court) -> alt.FacetChart:
    """A mark for each claim and budget, a panel a study."""
    words = found.judged[found.text]
    agree, asked = sum(j.word == "reproduced" for j in words), sum(bool(j.findings) for j in words)
    return verdict_grid(
        verdict_points(dict(found.judged)),
        title=f"{agree} of {asked} claims reproduced on {found.text}",
        description="A mark for each claim and budget, its shape and colour the verdict, a panel for each study.",
    )


def opposed(found: Court) -> pd.DataFrame:
    """Claims that cannot both be true, with each study's word."""
    by_key = {name: found.by_key(name) for name in found.columns}
    asked = by_key[found.own]
    return pd.DataFrame(
        {"claim": f"{asked[key].claim.statement} ({asked[key].claim.where})"}
        | {name: by_key[name][key].word for name in found.columns}
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
        title=f"With C the slope of L* {here} here, {law} in the paper's law",
        description="Nats per doubling of the number of experts against the training budget, with 95 percent "
        "intervals, a panel for each study.",
    )


def slope_numbers(found: Court) -> dict[str, Any]:
    """How the slope changes with the budget, here and under the paper's law, and whether the two clash."""
    here = found.by_key(found.text).get("slope-by-c")
    measured = here.findings[0] if here and here.findings else None
    gains, loses = (measured is not None and side for side in _sides(measured))
    law = found.by_key(found.own)["slope-by-c"].findings[0]
    if gains and law.value > 0:
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
        "av_slope": measured.text if measured else "not to be had",
        "av_slope_means": f"{worth} more" if gains else f"{worth} less" if loses else "the runs do not say which way",
        "av_law_slope": law.text,
        "av_law_means": "less" if law.value > 0 else "more",
        "av_clash": clash,
    }


def solution_numbers(found: Court) -> dict[str, Any]:
    """The word on the opposite of a claim, by study."""
    mine = [replace(c, key="mine", direction="rises") for c in found.claims if c.key == "na-by-s"]
    answers = (f"{study.name}: {verdicts(mine, study)[0].word}" for study in found.columns.values())
    return {"av_solution": "; ".join(answers)}


def _remark(claim: Claim) -> str:
    # What a reader must know of a claim that is judged; of the others it is the reason.
    return f"<br><small>{escape(claim.note)}</small>" if claim.note and claim.quantity else ""


def _cell(found: Judged, own: bool) -> str:
    if not found.findings and found.claim.quantity and own:
        return "-"
    head = f"<b>{found.word}</b>" + (f", {found.share}" if found.share else "")
    measured = "<br>".join(escape(f"{each.where}: {each.text}") for each in found.findings if each.text)
    parts = (head, escape(found.reason), f"<small>{measured}</small>" if measured else "")
    return "<br>".join(part for part in parts if part)


def _second(found: Court) -> str:
    if LANGUAGE not in found.columns:
        return "The synthetic language's runs are not recorded yet; its column is empty until they are."
    both = zip(found.judged[found.text], found.judged[LANGUAGE], strict=True)
    pairs = [(a.word, b.word) for a, b in both if a.findings and b.findings]
    same = sum(a == b for a, b in pairs)
    return f"The synthetic language leads to the same word at {same} of the {len(pairs)} claims that both can be asked."


def _moves(found: Judged | None) -> str:
    if found is None or not found.findings:
        return "not to be had"
    side = {"reproduced": "stays", "not resolved": "changes no certain way"}
    return side.get(found.word, "falls" if found.findings[0].value < 0 else "rises")


def _sides(measured: Any) -> tuple[bool, bool]:
    return (measured.high < 0, measured.low > 0) if measured is not None else (False, False)
