"""The runs of a table, with the seconds that a device's steps would take for each."""

import pandas as pd

from moelaws.config import ConfigError
from moelaws.pacing.step_model import StepError, StepModel
from moelaws.runs.timings import model_of

NEEDED = ("d_model", "n_layers", "n_heads", "d_ff", "n_experts", "vocab_size", "context", "batch_sequences", "tokens")
"""Columns from which a step can be foreseen."""


def predict_seconds(runs: pd.DataFrame, device: StepModel) -> pd.DataFrame:
    """Seconds of training of each run on one device: its steps times what a step is foreseen to take.

    Validation, and what a run takes to begin, are left out.

    Args:
        runs: a run table with the models' shape and the batch.
        device: its step model.

    Returns:
        The same rows, with ``seconds`` and ``seconds_error`` (standard error of their logarithm), and ``device`` that
        of the model, in the place of what the table says of times and machines.

    Raises:
        StepError: a column of the models' shape is missing, or a row is no model.

    Examples:
        >>> import moelaws as ml
        >>> runs = ml.datasets.load("isoflop").head(3)
        >>> predicted = predict_seconds(runs, ml.step_model("cpu"))
        >>> len(predicted), bool((predicted["seconds"] > 0).all())
        (3, True)
    """
    missing = [name for name in NEEDED if name not in runs.columns]
    if missing:
        raise StepError(f"the table has no column {missing[0]!r}; seconds of a step need {', '.join(NEEDED)}")
    known: dict[tuple[object, ...], float] = {}
    seconds = []
    for place, row in runs.iterrows():
        try:
            model = model_of(row)
        except ConfigError as error:
            raise StepError(f"row {place}: {error}") from None
        batch = float(row["batch_sequences"]) * model.context
        key = (model, batch)
        if key not in known:
            known[key] = device.seconds(model, batch)
        seconds.append(float(row["tokens"]) / batch * known[key])
    kept = runs.drop(columns=["tokens_per_second", "machine", "threads"], errors="ignore")
    return kept.assign(seconds=seconds, seconds_error=device.scatter, device=device.device)
