"""A training result as a row of the run table: results, counts, configuration and provenance."""

import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import torch

from moelaws.config import ConfigError, ModelConfig, RunConfig, TrainConfig
from moelaws.counting import FlopsConvention, count_parameters, training_flops_per_token
from moelaws.field import NEEDED, Described, described
from moelaws.provenance import code_version, machine
from moelaws.quote import listed, shown
from moelaws.runs.configured import LATER_FIELDS, value_of
from moelaws.text.text import Text
from moelaws.training.train import TrainingResult


def make_row(
    result: TrainingResult, text: Text, sweep: str = "", budget: float | None = None,
    convention: FlopsConvention = "exact",
) -> dict[str, Any]:  # fmt: skip
    """Describe a run by the columns of the run table.

    Args:
        result: what the run produced.
        text: what it read.
        sweep: name of the sweep that asked for it.
        budget: nominal training FLOPs of its isoFLOP group, if it has one.
        convention: how ``train_flops`` is counted.

    Returns:
        Column name -> value; columns that do not apply are absent.
    """
    run, validation = result.run, result.validation
    tokens = run.steps * run.batch_tokens
    pool = text.pool(run.model.context, tokens)
    parameters = count_parameters(run.model)
    row: dict[str, Any] = {
        "run_id": run.run_id,
        "sweep": sweep,
        "status": result.status,
        "reason": result.reason,
        "total_params": parameters.total,
        "active_params": parameters.active,
        "non_embedding_params": parameters.total_non_embedding,
        "train_flops": float(training_flops_per_token(run.model, convention) * tokens),
        "flops_convention": convention,
        "sparsity": run.model.sparsity,
        **run.model.to_dict(),
        **run.train.to_dict(),
        **{field.name: getattr(run, field.name) for field in described(run)},
        "tokens": tokens,
        "corpus": text.name,
        "corpus_sha256": text.sha256,
        "unique_tokens": min(tokens, pool),
        "epochs": tokens / pool,
        "seconds": result.seconds,
        "tokens_per_second": len(result.train_loss) * run.batch_tokens / result.training_seconds,
        "device": result.device,
        "machine": machine(),
        "threads": result.threads,
        "torch_version": torch.__version__,
        "code_version": code_version(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if budget is not None:
        row["budget"] = float(budget)
    if validation is not None:
        last = result.train_loss[-max(1, len(result.train_loss) // 10) :]
        row |= {
            "loss": validation.loss,
            "train_loss": sum(last) / len(last),
            "router_entropy": validation.router_entropy,
            "load_imbalance": validation.load_imbalance,
            "expert_load": json.dumps([[round(share, 5) for share in layer] for layer in validation.load]),
        }
        perfect = text.perfect_loss(run.model.context, run.train.validation_tokens)
        if perfect is not None:
            row["perfect_loss"] = perfect
        for name in ("loss_se", "bits_per_byte"):
            if math.isfinite(value := getattr(validation, name)):
                row[name] = value
    return row


def run_of(row: dict[str, Any]) -> RunConfig:
    """The configuration that a row records, ready to be trained again.

    Args:
        row: a row of a run table the library wrote; values may still be text, as in the file.

    Returns:
        The run; its ``run_id`` equals the row's.

    Raises:
        ConfigError: a column is missing or holds something else, named.
    """
    return RunConfig(
        ModelConfig(**_values(ModelConfig, row)), TrainConfig(**_values(TrainConfig, row)), **_values(RunConfig, row)
    )


def require_recorded(columns: Iterable[str], table: str) -> None:
    """Check that rows of a table say enough for their runs to be trained again; columns that came later may lack.

    Args:
        columns: the table's.
        table: its name, for the message.

    Raises:
        ConfigError: columns are missing, by name.
    """
    there = set(columns)
    fields = (field.name for kind in (ModelConfig, TrainConfig, RunConfig) for field in described(kind))
    if missing := [name for name in (*fields, *_OUTCOME) if name not in there and name not in LATER_FIELDS]:
        raise ConfigError(f"{table}: no column {listed(missing)}; {_AGAIN}")


def check_rows(rows: pd.DataFrame, table: str) -> None:
    """Refuse rows that do not describe the run whose name they bear: something else would be trained, and recorded.

    Args:
        rows: to be trained again; their index is the row's number in the file.
        table: the file's name, for the message.

    Raises:
        ConfigError: a cell that its field cannot hold, or a row that was changed.
    """
    for number, row in rows.iterrows():
        try:
            found = run_of({str(column): value for column, value in row.items()}).run_id
        except ConfigError as error:
            raise ConfigError(f"{table}: row {number}: {error}") from None
        if found != row["run_id"]:
            raise ConfigError(
                f"{table}: row {number} is named run {shown(row['run_id'], 20)}, but its columns describe run {found}: "
                "they were changed, or another version of moelaws wrote them"
            )


_OUTCOME = ("run_id", "status", "loss", "train_flops")
_AGAIN = "only a table that moelaws sweep wrote says enough for a run to be trained again"


def _values(kind: type[Described], row: dict[str, Any]) -> dict[str, Any]:
    values = {}
    for field in described(kind):
        if field.name not in row and not field.later:
            raise ConfigError(f"no column {field.name!r}; {_AGAIN}")
        values[field.name] = value_of(field, row, field.absent if field.later else NEEDED)
    return values
