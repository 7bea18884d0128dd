"""Every claim of Abnar's put to every study of this book, to the paper's own law, and to the placebos of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from howmany.abnar import verdicts
from howmany.claims import Claim
from howmany.study import Study, study_of_law, study_of_runs
from howmany.verdict import Judged
from howmany.verdicts.placebo import placebo_studies
from moelaws.runs import finished, read_runs
from moelaws.runs.probed import read_probes

NEEDED = ("loss", "budget", "sparsity", "total_params", "active_params", "tokens", "top_k")
"""Columns that a table must have for this chapter."""


def studies(
    files: Mapping[str, str],
    probes_file: str,
    held_out: Sequence[float],
    refits: tuple[int, int],
    finer: Sequence[str] = (),
) -> dict[str, Study]:
    """The surfaces of every table that exists; the first text's with its probes and finer experts, where these exist.

    Args:
        files: name of the text -> run table.
        probes_file: probes of the first text's models.
        held_out: budgets that no law is fitted to.
        refits: of each surface, and their seed.
        finer: tables of the first text's runs with more and finer experts.
    """
    tables = {name: read_runs(path, required=NEEDED) for name, path in files.items() if Path(path).exists()}
    found = {}
    for name, table in tables.items():
        first = (
            name == next(iter(tables)) and "run_id" in table.columns
        )  # by which probes and more runs are of the first
        probes = read_probes(probes_file, table) if first and Path(probes_file).exists() else None
        found[name] = study_of_runs(name, table, *refits, held_out, probes)
        more = [finished(read_runs(path, required=NEEDED)) for path in finer if first and Path(path).exists()]
        if more:
            found[name] = replace(found[name], every=pd.concat([found[name].every, *more], ignore_index=True))
    return found


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
        """The claims that a study contradicts, and its placebo does not."""
        return self.given(name, "contradicted")

    def given(self, name: str, word: str) -> list[str]:
        """The claims that get a word from a study, and do not get it from its placebo too."""
        return [j.claim.words for j in self.judged[name] if j.word == word and not j.silent]

    def silent(self, name: str) -> list[str]:
        """The claims of which a study says no more than its placebo does."""
        return [j.claim.words for j in self.judged[name] if j.silent]


def court(claims: Sequence[Claim], found: Mapping[str, Study], placebos: int, bootstrap: int) -> Court:
    """Put every claim to every study and to the paper's own law, and to the placebos of each.

    Args:
        claims: the paper's sentences.
        found: the studies.
        placebos: how many draws of the noise a study's placebo gets.
        bootstrap: refits of each surface of a placebo.
    """
    own = study_of_law()
    judged = {
        name: verdicts(claims, study, placebo_studies(study, placebos, bootstrap)) for name, study in found.items()
    }
    blind = {"dense curve": [study_of_law(experts=False)]}
    return Court(claims, {**found, own.name: own}, judged | {own.name: verdicts(claims, own, blind)})
