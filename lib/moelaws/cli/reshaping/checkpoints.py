"""Checkpoint folders that a command reads and writes: never one over the other, never over what is somebody's.

And what a model loses on the way: ``--loss``.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from moelaws.cli.values import path
from moelaws.stages import stage
from moelaws.sweeping.executors import require_training

if TYPE_CHECKING:
    from moelaws.config import ModelConfig
    from moelaws.models import Transformer
    from moelaws.text.text import Text

_TOKENIZER = "tokenizer.json"
_HELD_OUT = 16_384
"""Tokens that ``--loss`` reads."""


def add_folders(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the folder that is read and the one that is written.

    Args:
        parser: of the command.
        what: the folder to read holds.
    """
    parser.add_argument("model", type=path, metavar="FOLDER", help=f"{what} in the OLMoE layout")
    parser.add_argument("--out", type=path, required=True, metavar="FOLDER", help="where the new model is written")
    parser.add_argument("--replace", action="store_true", help="where a model lies already, write over it")


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
    from moelaws.models.checkpoint import CONFIG, check_folder, load_checkpoint

    folder = options.model if folder is None else folder
    if any(_is_same(options.out, read) for read in (options.model, folder, getattr(options, "other", folder))):
        raise ValueError(f"--out {options.out}: the folder that is read; name another, or its model would be lost")
    check_folder(options.out)
    if (options.out / CONFIG).exists() and not options.replace:
        raise ValueError(f"--out {options.out}: holds a model; name another folder, or say --replace to lose that one")
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


def add_loss(parser: argparse.ArgumentParser) -> None:
    """Add ``--loss``; the parser has ``--text``."""
    parser.add_argument("--loss", action="store_true", help="also say the loss on held-out text, before and after")


def text_for(options: argparse.Namespace, config: "ModelConfig", tokens: int) -> "Text":
    """What ``--text`` names, in the tokens of the model that is read.

    Args:
        options: with ``text`` and ``model``.
        config: of the model.
        tokens: that are read of it; of a text that must be spelled anew no more than twice as many are.

    Raises:
        ValueError: no such text, a tokenizer that cannot be used, or more token ids than the model has.
    """
    from moelaws.text.corpus import Corpus
    from moelaws.text.spelling import spelled
    from moelaws.text.text import load_text

    text, own = load_text(options.text, config.vocab_size), tokenizer_of(options.model)
    if own is not None and isinstance(text, Corpus) and own.read_bytes() != text.tokenizer_file.read_bytes():
        text = spelled(text, own, 2 * tokens)
    if text.vocab_size > config.vocab_size:
        raise ValueError(
            f"--text {options.text}: {text.vocab_size} token ids, more than the {config.vocab_size} of {options.model}"
        )
    return text


def held_out_losses(options: argparse.Namespace, models: Mapping[str, "Transformer"]) -> dict[str, float]:
    """The loss of each model on what ``--text`` holds out, said in one line; nothing without ``--loss``.

    Raises:
        ValueError: no such text, or one in other tokens than the models'.
    """
    if not options.loss:
        return {}
    import torch

    config = next(iter(models.values())).config
    text = text_for(options, config, _HELD_OUT)
    windows = torch.from_numpy(text.validation_windows(config.context, _HELD_OUT))
    found = {}
    for name, model in models.items():
        with stage(f"reading held-out text, {name}"), torch.no_grad():
            parts = [model.token_losses(part[:, :-1], part[:, 1:])[0].double() for part in windows.split(16)]
            found[name] = float(torch.cat(parts).mean())
    said = ", ".join(f"{name} {loss:.4f}" for name, loss in found.items())
    print(f"loss on {windows[:, 1:].numel():,} held-out tokens of {options.text}, nats: {said}")
    return found
