"""The columns of a run table: name, kind, unit, meaning. The field dictionary in data/README.md is made of these.

Those of a configuration's fields are made from the fields' own descriptions in ``moelaws.config``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.field import Field, described
from moelaws.runs.lines import cell

Kind = Literal["text", "integer", "number"]


@dataclass(frozen=True)
class Column:
    """One column of a run table.

    Attributes:
        name: the header, one of the book's terms.
        kind: what a cell holds.
        unit: unit of the number; empty for text and pure counts.
        meaning: one sentence.
        minimum: smallest permitted value; ``None`` where any number goes.
        exclusive: whether the minimum itself is refused.
        optional: whether a finished run may leave the cell empty.
        below: a value that no cell reaches; ``None`` where there is none.
        before: ``None`` for a column of the first recorded tables; else the cell of a run recorded before the column
            was there, which is empty where nobody knows any more.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    minimum: float | None = None
    exclusive: bool = False
    optional: bool = False
    below: float | None = None
    before: str | None = None

    @property
    def expected(self) -> str:
        """What a cell must hold, in words."""
        kind = {"text": "text", "integer": "a whole number", "number": "a finite number"}[self.kind]
        if self.minimum is None:
            return kind
        most = "" if self.below is None else f" and < {self.below:g}"
        return f"{kind} {'>' if self.exclusive else '>='} {self.minimum:g}{most}"


def _text(name: str, meaning: str) -> Column:
    return Column(name, "text", "", meaning)


def _count(name: str, unit: str, meaning: str, minimum: float = 1) -> Column:
    return Column(name, "integer", unit, meaning, minimum)


def _positive(name: str, unit: str, meaning: str) -> Column:
    return Column(name, "number", unit, meaning, 0, exclusive=True)


_KINDS: dict[type, Kind] = {bool: "text", str: "text", int: "integer", float: "number"}


def _columns(fields: tuple[Field, ...], *names: str, but: str = "") -> Iterator[Column]:
    """Columns of the fields of these names, or of all but one."""
    for field in fields:
        if field.name in names or (not names and field.name != but):
            kind = _KINDS[field.kind]
            if kind == "text":
                column = _text(field.name, field.meaning)
            elif field.loose:
                column = _positive(field.name, field.unit, field.meaning)
            else:
                column = Column(field.name, kind, field.unit, field.meaning, field.least, field.exclusive)
            yield replace(column, before=cell(field.absent) if field.later else None)


_ALL = (
    # Identity and outcome
    _text("run_id", "hash of the run's configuration; unique in a table"),
    _text("sweep", "name of the sweep that asked for the run"),
    _text("status", "finished, or diverged (loss or gradient not finite, or the loss exploded)"),
    _text("reason", "why a run did not finish; empty for a finished run"),
    # Results
    _positive("loss", "nats/token", "L, validation cross-entropy after the last step"),
    Column("loss_se", "number", "nats/token", "standard error of the loss over validation sequences", 0, optional=True),
    Column(
        "bits_per_byte",
        "number",
        "bits/byte",
        "validation loss per byte of text, comparable across tokenizers; empty for a synthetic language",
        0,
        exclusive=True,
        optional=True,
    ),
    Column(
        "perfect_loss",
        "number",
        "nats/token",
        "loss of the perfect predictor on the same validation text; empty where it is not known",
        0,
        optional=True,
    ),
    _positive("train_loss", "nats/token", "mean training cross-entropy over the last tenth of the steps"),
    Column(
        "router_entropy",
        "number",
        "nats",
        "entropy of the router's distribution, mean over tokens, layers",
        0,
    ),
    Column("load_imbalance", "number", "1", "busiest expert's load over the mean load, worst layer", 0),
    _text(
        "expert_load",
        "share of the validation tokens' choices that each expert received, a JSON list per layer",
    ),
    # Size and budget
    # Counts as numbers, not whole ones: a reader's table may hold rounded or averaged sizes.
    _positive("total_params", "parameters", "N, all parameters, embeddings included"),
    _positive("active_params", "parameters", "N_a, always-on parameters and K experts, embeddings included"),
    _positive("non_embedding_params", "parameters", "N without embedding and unembedding"),
    *_columns(described(TrainConfig), "tokens"),
    _positive("train_flops", "FLOPs", "C, training FLOPs under flops_convention"),
    _text("flops_convention", "how train_flops was counted: exact, eq9 or 6na"),
    Column("budget", "number", "FLOPs", "nominal C of the isoFLOP group a run belongs to", 0, True, optional=True),
    Column("sparsity", "number", "1", "S = (E - K) / E", 0, below=1),
    # Architecture
    *_columns(described(ModelConfig)),
    # Recipe
    *_columns(described(TrainConfig), but="tokens"),
    # Data
    *_columns(described(RunConfig)),
    _count("unique_tokens", "tokens", "distinct training tokens the run saw: at most the pool"),
    _positive("epochs", "", "training tokens over the pool's tokens"),
    # Provenance
    _positive("seconds", "s", "wall time of training and validation"),
    _positive("tokens_per_second", "tokens/s", "training speed, validation excluded"),
    _text("device", "cpu or the CUDA device's name"),
    _text("machine", "processor and core count"),
    _count("threads", "", "torch threads in the process"),
    _text("torch_version", "torch release"),
    _text("code_version", "moelaws release, with the commit where it ran from a clone"),
    _text("finished_at", "UTC time at which the row was made, ISO 8601"),
)

COLUMNS: dict[str, Column] = {column.name: column for column in _ALL}
"""Every column the library writes, in file order, by name."""

LATER: dict[str, str] = {column.name: column.before for column in _ALL if column.before is not None}
"""Columns that tables of older versions lack, each with the cell of their rows."""

NEEDED = frozenset({
    "loss", "total_params", "active_params", "non_embedding_params", "tokens", "train_flops", "sparsity",
    "n_experts", "top_k",
})  # fmt: skip
"""Columns that, where a table has them, every finished run fills: what laws are fitted to. In a reader's table a run
may lack any other."""
