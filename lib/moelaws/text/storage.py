"""Tokenized text on the disk: built once, in a folder of its own, and checked whenever it is read."""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moelaws.stages import stage
from moelaws.text.domains import Domain
from moelaws.text.tokenizer import bytes_of_tokens, tokenize, train_tokenizer


@dataclass(frozen=True)
class Tokens:
    """What is stored of a corpus; see ``Corpus`` for the meaning of the fields."""

    train: NDArray[np.uint16]
    validation: NDArray[np.uint16]
    token_bytes: NDArray[np.int64]
    sha256: str
    tokenizer_file: Path
    domains: tuple[tuple[str, int, int], ...]


def build(folder: Path, domains: tuple[Domain, ...], vocab_size: int) -> None:
    """Tokenize into a folder of its own, then rename: two processes may build at once, one of them wins.

    Args:
        folder: where the tokens shall lie.
        domains: the texts.
        vocab_size: largest number of token ids.

    Raises:
        CorpusError: a text cannot be read.
        OSError: the folder cannot be written.
    """
    with stage("tokenizing, once"):
        splits = [domain.read() for domain in domains]
        learned = (text for d, split in zip(domains, splits, strict=True) for text in split.train[:: d.learn_every])
        tokenizer = train_tokenizer(learned, vocab_size)
        trains = [tokenize(tokenizer, split.train) for split in splits]
        validations = [tokenize(tokenizer, split.held_out) for split in splits]
    train, validation = np.concatenate(trains), np.concatenate(validations)
    description = {
        "sha256": fingerprint(train, validation),
        "domains": [[d.name, len(t), len(v)] for d, t, v in zip(domains, trains, validations, strict=True)],
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix="building-"))
    try:
        np.save(building / "train.npy", train)
        np.save(building / "validation.npy", validation)
        np.save(building / "token_bytes.npy", bytes_of_tokens(tokenizer))
        tokenizer.save(str(building / "tokenizer.json"))
        (building / "corpus.json").write_text(json.dumps(description))
        try:
            building.rename(folder)
        except OSError:
            if read(folder) is None:  # what is there is broken, not another process's good copy
                shutil.rmtree(folder, ignore_errors=True)
                building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def read(folder: Path) -> Tokens | None:
    """The stored tokens, or ``None`` if they are absent or damaged."""
    try:
        train, validation, token_bytes = (
            np.load(folder / f"{part}.npy", allow_pickle=False) for part in ("train", "validation", "token_bytes")
        )
        description = json.loads((folder / "corpus.json").read_text())
        recorded = description["sha256"]
        domains = tuple((str(name), int(kept), int(held_out)) for name, kept, held_out in description["domains"])
    except (OSError, ValueError, KeyError):
        return None
    if fingerprint(train, validation) != recorded:
        return None
    return Tokens(train, validation, token_bytes, recorded, folder / "tokenizer.json", domains)


def fingerprint(train: NDArray[np.uint16], validation: NDArray[np.uint16]) -> str:
    """Hash of the tokens, by which runs name the text they read."""
    digest = hashlib.sha256(f"{len(train)} {len(validation)} ".encode())
    for tokens in (train, validation):
        digest.update(np.ascontiguousarray(tokens, dtype="<u2").data)
    return digest.hexdigest()
