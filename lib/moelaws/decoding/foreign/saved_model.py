"""A model in a folder of its own, for programs that read files."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from moelaws.models import Transformer
from moelaws.models.checkpoint import CheckpointError, save_checkpoint


class ForeignError(ValueError):
    """Another program cannot decode this model, or not as asked."""


@dataclass
class ForeignCache:
    """What another program keeps of the requests: how long they are, and how many bytes that takes."""

    length: int
    bytes: int


@contextmanager
def saved(model: Transformer, program: str) -> Iterator[Path]:
    """A folder with the model, until the end.

    Raises:
        ForeignError: the layout has no place for something of it.
    """
    with tempfile.TemporaryDirectory(prefix="moelaws-") as folder:
        try:
            save_checkpoint(model, Path(folder) / "model")
        except CheckpointError as error:
            raise ForeignError(f"{program}: {error}") from None
        yield Path(folder) / "model"


def same_length(prompts: Sequence[Sequence[int]] | Tensor, program: str) -> Tensor:
    """Prompts as a tensor B x T.

    Raises:
        ForeignError: they are of several lengths, or there are none.
    """
    lengths = {len(prompt) for prompt in prompts}
    if len(lengths) != 1 or 0 in lengths:
        raise ForeignError(f"{program}: prompts of {len(lengths)} lengths; expected prompts of one length, not empty")
    return prompts if isinstance(prompts, Tensor) else torch.tensor(prompts)


def refuse_routes(program: str, *asked: object) -> None:
    """Refuse what only our own decoders do.

    Raises:
        ForeignError: experts are to be told, or forced.
    """
    if any(one is not None for one in asked):
        raise ForeignError(
            f"{program} chooses its experts itself and does not tell them: expected routing by the router"
        )
