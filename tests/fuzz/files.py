"""The folder that commands are let loose on: good files, and files that look like them."""

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pandas as pd

from fuzz.good import CONFIG, FIT, recorded, runs
from fuzz.nasty import others, tables

ROOT = Path(__file__).parents[2]

_SWEEPS = """
from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.sweeping.sweep import SweepRun

MODEL = ModelConfig(d_model=16, n_heads=2, d_ff=32, n_experts=4, context=32)
TRAIN = TrainConfig(tokens=512, batch_sequences=4, validation_tokens=512)


def one(corpus="zipf-markov:V=64", model=ModelConfig(64, 16, 1, 2, 32, 4, context=32)):
    return [SweepRun(RunConfig(model, TRAIN, corpus), "one", budget=1e9)]


def giant():
    return one(model=ModelConfig(64, 2**16, 1, 2, 32, 4, context=32))
"""


def build(folder: Path) -> None:
    """Fill an empty folder.

    Args:
        folder: where; everything in it is the tests' own.
    """
    from moelaws.config import ModelConfig
    from moelaws.models import Transformer
    from moelaws.models.checkpoint import save_checkpoint

    for name, table in (("good.csv", runs()), ("ours.csv", recorded())):
        table.to_csv(folder / name, index=False)
    runs().to_parquet(folder / "good.parquet")
    shutil.copyfile(ROOT / "data" / "timings" / "cpu.csv", folder / "timings.csv")
    (folder / "fit.json").write_text(json.dumps(FIT))
    save_checkpoint(Transformer(ModelConfig(64, 16, 1, 2, 32, 4, context=32)), folder / "small")
    save_checkpoint(Transformer(ModelConfig(64, 16, 1, 2, 32, context=32)), folder / "dense")
    (folder / "tiny_sweeps.py").write_text(_SWEEPS)
    (folder / "text.txt").write_text("The quick brown fox jumps over the lazy dog.\n" * 400)
    shutil.copytree(ROOT / "tests" / "small_book", folder / "book")
    for name, content in (tables() | others()).items():
        (folder / name).write_bytes(content)
    _exports(folder)
    _columns_of_another_kind(folder)
    no_files(folder)
    _models(folder)


def no_files(folder: Path) -> None:
    """Things that have names, but are no regular files."""
    (folder / "folder.csv").mkdir()
    (folder / "folder.json").mkdir()
    for name in ("pipe.csv", "pipe.json", "pipe.txt"):
        os.mkfifo(folder / name)
    (folder / "loop.csv").symlink_to("loop.csv")
    (folder / "dangling.csv").symlink_to("nowhere.csv")
    (folder / "link.csv").symlink_to("good.csv")
    for name in ("giant.json", "giant.txt"):
        with open(folder / name, "wb") as file:
            file.truncate(10**12)


EXPORTED = (
    "trainer_state.json",
    "tracker_metrics.jsonl",
    "history.jsonl",
    "runs.csv",
    "events.out.tfevents.1",
    "config.json",
)
"""Names by which the runs of other programs are known."""
BROKEN = {
    "empty": b"", "text": b"not what it says", "bytes": bytes(range(256)) * 9, "list": b"[1, 2]", "open": b"{" * 9999,
    "kinds": b'{"global_step": [], "log_history": {"a": 1}, "max_steps": "x", "total_flos": 1e999, "config": 3}',
    "log": b'{"global_step": 1e400, "log_history": [1, {"loss": {"a": [NaN]}, "eval_loss": "no"}], "summary": "{f()}"}',
}  # fmt: skip
"""What such a file may hold that none should."""


def _exports(folder: Path) -> None:
    """Folders of runs as other programs leave them, each file with one thing wrong."""
    for word, content in BROKEN.items():
        for name in EXPORTED:
            place = folder / f"export_{word}_{name.split('.')[0]}" / "a"
            place.mkdir(parents=True)
            (place / name).write_bytes(content)
            if name == "config.json":
                (place / "trainer_state.json").write_text('{"global_step": 1, "log_history": [{"eval_loss": 3}]}')
    (folder / "export_nothing").mkdir()


def _columns_of_another_kind(folder: Path) -> None:
    table = runs()
    table.assign(note=[[1, 2]] * len(table)).to_parquet(folder / "lists.parquet")
    table.assign(loss=[[3.0]] * len(table)).to_parquet(folder / "loss_lists.parquet")
    table.assign(note=[{"a": 1}] * len(table)).to_parquet(folder / "structs.parquet")
    table.assign(when=pd.Timestamp("2026-01-01"), blob=b"\xff").to_parquet(folder / "times.parquet")


def _models(folder: Path) -> None:
    """Checkpoints, each with one thing wrong."""
    weights = (folder / "small" / "model.safetensors").read_bytes()
    headers = {
        "zero": b"", "short": b"\1\2", "vast": struct.pack("<Q", 2**63) + b"{}",
        "long": struct.pack("<Q", 10**9) + b"{}",
        "deep": struct.pack("<Q", 50_000) + b"[" * 50_000, "cut": weights[:-7], "half": weights[: len(weights) // 2],
        "text": b"not tensors at all", "pickle": b"\x80\x04\x95" + b"0" * 80,
    }  # fmt: skip
    for name, content in headers.items():
        model(folder / f"model_{name}", CONFIG, content)
    model(folder / "model_bare", CONFIG, None)
    for name in ("list.json", "deep.json", "nan.json", "empty.json", "digits.json", "latin.json"):
        model(folder / f"config_{name[:-5]}", others()[name], weights)


def model(folder: Path, config: Any, weights: bytes | None) -> None:
    """Write a checkpoint of these parts."""
    folder.mkdir()
    (folder / "config.json").write_bytes(config if isinstance(config, bytes) else json.dumps(config).encode())
    if weights is not None:
        (folder / "model.safetensors").write_bytes(weights)
