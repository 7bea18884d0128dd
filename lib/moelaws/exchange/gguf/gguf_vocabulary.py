"""A byte-level BPE of ``tokenizer.json`` in the terms of GGUF, or none at all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moelaws.json_file import JsonFileError, read_object

_NORMAL, _CONTROL, _UNUSED = 1, 3, 5


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id.

    Attributes:
        tokens: their names.
        types: GGUF's types of token.
        merges: pairs, the earliest first.
        end: id of the token that closes a text.
    """

    tokens: list[str]
    types: list[int]
    merges: list[str]
    end: int


def vocabulary_of(folder: Path, vocab_size: int, end: int) -> Vocabulary | None:
    """The tokenizer beside a checkpoint, if GGUF knows its kind: byte-level BPE cut as in GPT-2, nothing else.

    Args:
        folder: may hold ``tokenizer.json``.
        vocab_size: V; ids that the tokenizer does not use are filled up.
        end: id of the token that closes a text, by ``config.json``.

    Returns:
        The vocabulary; ``None`` without a tokenizer, or with one of another kind.
    """
    try:
        content = read_object(folder / "tokenizer.json")
        return _vocabulary(content, vocab_size, end)
    except (JsonFileError, AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def _vocabulary(content: dict[str, Any], vocab_size: int, end: int) -> Vocabulary | None:
    model, cut = content["model"], content["pre_tokenizer"]
    if model["type"] != "BPE" or cut["type"] != "ByteLevel" or not cut.get("use_regex", True):
        return None
    if cut["add_prefix_space"] or content["normalizer"] is not None:
        return None
    tokens = [f"[UNUSED{number}]" for number in range(vocab_size)]
    types = [_UNUSED] * vocab_size
    for name, number in model["vocab"].items():
        tokens[number], types[number] = name, _NORMAL
    for added in content["added_tokens"]:
        tokens[added["id"]], types[added["id"]] = added["content"], _CONTROL
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return Vocabulary(tokens, types, merges, end) if 0 <= end < vocab_size else None
