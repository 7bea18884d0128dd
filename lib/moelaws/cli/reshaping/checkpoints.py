"""Checkpoint folders that a command reads and writes: never one over the other, never over what is somebody's."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from moelaws.cli.values import path
from moelaws.sweeping.executors import require_training

if TYPE_CHECKING:
    from moelaws.models import Transformer

_TOKENIZER = "tokenizer.json"


def add_folders(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the folder that is read and the one that is written.

    Args:
        parser: of the command.
        what: the folder to read holds.
    """
    parser.add_argument("model", type=path, metavar="FOLDER", help=f"{what} in the OLMoE layout")
    parser.add_argument("--out", type=path, required=True, metavar="FOLDER", help="where the new model is written")


def open_model(options: argparse.Namespace, copies: int, folder: Path | None = None) -> "Transformer":
    """The model that is read, once it is certain that the new one may be written.

    Args:
        options: of a parser that ``add_folders`` has been at.
        copies: of the weights that the memory must hold.
        folder: another one to read.

    Raises:
        ValueError: no such checkpoint, or a folder that may not be written to.
    """
    require_training()
    from moelaws.models.checkpoint import check_folder, load_checkpoint

    folder = options.model if folder is None else folder
    if _is_same(options.out, folder):
        raise ValueError(f"--out {options.out}: the folder that is read; name another, or its model would be lost")
    check_folder(options.out)
    return load_checkpoint(folder, copies)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.resolve() == other.resolve()
    except RuntimeError:  # a loop of links, which is no model's folder; who opens it says so
        return False


def tokenizer_of(folder: Path) -> Path | None:
    """The tokenizer that lies beside a model, if one does."""
    file = folder / _TOKENIZER
    return file if file.is_file() else None


def require_one_tokenizer(one: Path, other: Path) -> None:
    """Check that two models speak of the same tokens, as far as their folders tell.

    Raises:
        ValueError: each folder has a tokenizer, and they differ.
    """
    files = [tokenizer_of(folder) for folder in (one, other)]
    if all(files) and len({file.read_bytes() for file in files if file}) > 1:
        raise ValueError(
            f"{other}: its {_TOKENIZER} is not that of {one}; expected two models of one tokenizer, or a token would "
            "mean two things"
        )
