"""The runs that were chosen: what each tells, what all of them tell together, and when to stop."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moelaws import __version__
from moelaws.files import check_beginning, write_whole
from moelaws.quote import in_short, number_of, within

BEGINNING = "next_run,"
"""Of every file of runs to be made, by which it is known."""
_NAMES = {
    "next_run": "run", "wave": "wave", "n_experts": "E", "top_k": "K", "granularity": "G", "d_model": "d",
    "active_params": "N_a", "total_params": "N", "tokens": "D", "train_flops": "FLOPs",
    "cumulative_flops": "FLOPs so far", "variance_cut": "cuts variance by", "error_after": "error after",
}  # fmt: skip
_MOST_SHOWN = 40


@dataclass(frozen=True)
class More:
    """What further runs would buy.

    Attributes:
        runs: how many.
        flops: what they cost.
        error: foretold after them.
        worth: nats by which the error would fall.
    """

    runs: int
    flops: float
    error: float
    worth: float


@dataclass(frozen=True, repr=False)
class NextRuns:
    """Runs to be made next, in order.

    Attributes:
        asked: what they are to tell.
        table: a row a run: ``next_run`` (1, 2, ...), ``wave`` (those that go on at once), the candidate's columns,
            ``cumulative_flops``, ``variance_cut`` (share of the variance left before it that the run takes),
            ``error_after`` (foretold, once it and those before are known).
        answer: what is foretold now: of each sum that is asked its value, ``low`` and ``high``.
        held: runs held.
        before, after: error foretold (a standard deviation; of the loss in nats, else of what is asked), without the
            runs and with them.
        noise: standard deviation of ln L of one run.
        more: what ten further runs would buy; ``None`` where there are none to be had.
        stop: whether that is too little to be told from chance.
        discrepancy: whether processes of what laws miss stand beside them.
        warnings: what makes the numbers doubtful.
    """

    asked: str
    table: pd.DataFrame
    answer: pd.DataFrame
    held: int
    before: float
    after: float
    noise: float
    more: More | None
    stop: bool
    discrepancy: str
    warnings: tuple[str, ...]

    @property
    def in_nats(self) -> bool:
        """Whether what is asked is a loss."""
        return self.asked.startswith("the loss")

    @property
    def flops(self) -> float:
        """FLOPs of all runs chosen."""
        return float(self.table["train_flops"].sum())

    @property
    def finding(self) -> str:
        """What is to be done, in a sentence or two."""
        if self.table.empty:
            return f"No run is worth its FLOPs for {self.asked}: the error foretold is {self.before:#.3g}."
        said = (
            f"For {self.asked}: {number_of(len(self.table), 'run')} of {self.flops:.3g} FLOPs in all take the error"
            f" foretold from {self.before:#.3g} to {self.after:#.3g}{' nats' * self.in_nats}."
        )
        if self.more is not None:
            verdict = "stop there" if self.stop else "worth a thought"
            said += f" {self.more.runs} more ({self.more.flops:.3g} FLOPs) would buy {self.more.worth:.2g}: {verdict}."
        return said

    def save(self, path: str | Path) -> None:
        """Write the runs as CSV: what ``moelaws sweep FILE`` trains, where the models have a width (``d_model``).

        Args:
            path: where. A file is replaced only if it is empty or such a file.

        Raises:
            FileExistsError: a file of somebody's.
            OSError: the place cannot be written to.
        """
        check_beginning(Path(path), BEGINNING)
        write_whole(Path(path), self.table.to_csv(index=False))

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what ``moelaws next --json`` writes, as ``data/next.schema.json`` has it."""
        more = None if self.more is None else vars(self.more)
        return {
            "asked": self.asked,
            "held": self.held,
            "before": self.before,
            "after": self.after,
            "noise": self.noise,
            "runs": [_without_empty(row) for row in self.table.to_dict("records")],
            "answer": self.answer.to_dict("records"),
            "more": more,
            "stop": self.stop,
            "discrepancy": self.discrepancy,
            "warnings": list(self.warnings),
            "versions": {"moelaws": __version__, "numpy": np.__version__},
        }

    def _repr_html_(self) -> str:
        said = [self.finding, self.discrepancy, *(f"Beware: {each}" for each in self.warnings)]
        tables = [shown for shown in (shown_runs(self.table), shown_answer(self.answer)) if len(shown)]
        return "".join(
            [*(f"<p>{escape(each)}</p>" for each in said), *(each.to_html(index=False, border=0) for each in tables)]
        )

    def __str__(self) -> str:
        lines = [self.finding, self.discrepancy, *(f"Beware: {each}" for each in self.warnings)]
        for shown in (shown_runs(self.table), shown_answer(self.answer)):
            if len(shown):
                lines += ["", *(line.rstrip() for line in shown.to_string(index=False).splitlines())]
        if len(self.table) > _MOST_SHOWN:
            lines.append(f"(the first {_MOST_SHOWN} of {len(self.table)})")
        return "\n".join(lines)

    __repr__ = __str__


def shown_runs(table: pd.DataFrame) -> pd.DataFrame:
    """The runs as text, the first of very many."""
    forms = {
        "variance_cut": lambda v: f"{100 * v:.0f} %",
        "error_after": "{:#.3g}".format,
        **dict.fromkeys(("active_params", "total_params", "tokens"), in_short),
        **dict.fromkeys(("train_flops", "cumulative_flops"), _power),
    }
    columns = {}
    for name, title in _NAMES.items():
        if name not in table.columns or (name in ("granularity", "top_k", "wave") and table[name].nunique() <= 1):
            continue
        columns[title] = table[name].head(_MOST_SHOWN).map(forms.get(name, "{:.4g}".format))
    return pd.DataFrame(columns)


def shown_answer(answer: pd.DataFrame) -> pd.DataFrame:
    """What is foretold now, as text."""
    titles = ["foretold now", "value", "95 % from", "to"]
    rows = [within(*map(float, numbers)) for numbers in answer[["value", "low", "high"]].to_numpy()]
    return pd.DataFrame([(asked, *row) for asked, row in zip(answer["asked"], rows, strict=True)], columns=titles)


def _power(flops: float) -> str:
    return re.sub(r"e\+0*", "e", f"{flops:.2e}")


def _without_empty(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items() if not (isinstance(value, float) and np.isnan(value))}
