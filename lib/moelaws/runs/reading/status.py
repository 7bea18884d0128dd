"""Whether a run ended well, in the words of the programs that record runs."""

import re
from typing import Any

import numpy as np
import pandas as pd

from moelaws.quote import listed
from moelaws.runs.error import RunTableError
from moelaws.runs.numbers import as_numbers

FINISHED = "finished"
"""The book's own word; the reader's words for it are turned into it."""

OTHER_NAMES = {"state", "run state", "run_state", "run status", "run_status", "job_state", "outcome", "stopped_by"}
ENDED_WELL = frozenset({
    "finished", "finish", "done", "complete", "completed", "completion", "success", "successful", "successfully",
    "succeeded", "succeed", "ok", "okay", "passed", "true", "yes", "converged", "trained",
})  # fmt: skip
DID_NOT = frozenset({
    "running", "crashed", "crash", "failed", "fail", "failure", "failing", "killed", "diverged",
    "divergence", "diverging", "preempted", "preempting", "preemption", "cancelled", "canceled", "cancelling",
    "canceling", "aborted", "abort", "error", "errored", "errors", "exception", "timeout", "timedout", "timed",
    "oom", "outofmemory", "out_of_memory", "pending", "queued", "waiting", "scheduled", "submitted", "starting",
    "started", "initializing", "interrupted", "unfinished", "incomplete", "not", "nan", "nans", "inf", "exploded",
    "nodefail", "node_fail", "boot_fail", "suspended", "paused", "requeued", "requeue", "resuming", "timed_out",
    "time_out", "false", "no", "in_progress", "inprogress", "upstream_failed", "deadline", "revoked",
    "unsuccessful", "uncompleted",
})  # fmt: skip


def ended_well(status: pd.Series, result: pd.Series | None = None) -> np.ndarray:
    """Which runs count as finished; [rows].

    Args:
        status: words; an empty one counts as finished.
        result: the runs' losses, where there are any. A run without one has not finished, whatever it is called.

    Raises:
        RunTableError: words that are neither, of runs that have a result; the message lists them.
    """
    codes, words = pd.factorize(status.astype(object), use_na_sentinel=True)
    known = np.array([*(_ended_well(word) for word in words), True], dtype=object)
    verdicts = known[codes]
    open_ones = np.array([verdict is None for verdict in verdicts], dtype=bool)
    if open_ones.any() and result is not None:
        open_ones &= np.isfinite(as_numbers(result.to_numpy()))
    if open_ones.any():
        found = [word for word, verdict in zip(words, known, strict=False) if verdict is None]
        raise RunTableError(
            f"row {status.index[open_ones][0]}, column 'status': found {listed(found, most=4)}, which may or may not"
            " mean finished (as finished, done and completed do); keep the runs you mean with --where, and rename the"
            " column away: --map word=status"
        )
    return np.array([verdict is True for verdict in verdicts], dtype=bool)


def unread_status(cells: pd.DataFrame) -> str:
    """Which column of a table without a ``status`` tells under another name that some runs did not finish; or none."""
    if "status" in cells.columns:
        return ""
    for name in cells.columns:
        if str(name).strip().lower() in OTHER_NAMES and any(
            _ended_well(word) is False for word in cells[name].dropna()
        ):
            return str(name)
    return ""


def _ended_well(word: Any) -> bool | None:
    """Yes, no, or ``None`` for a word that may be either."""
    text = str(word).strip().lower().rstrip(".!")
    if text == "" or text in ENDED_WELL:
        return True
    first = re.split(r"[\s:;,(+/\-]", text, maxsplit=1)[0]
    # "cancelled by 1000", "failed (oom)"; but "finished with errors" is for its owner to say.
    return False if text.replace(" ", "_").replace("-", "_") in DID_NOT or first in DID_NOT else None
