"""A model by the name that a command is given: a checkpoint's folder, ``tiny:d=64,E=8``, or a configuration's file."""

from pathlib import Path
from typing import TYPE_CHECKING

from moelaws.config import ModelConfig
from moelaws.exchange.families import FAMILIES
from moelaws.exchange.published_models import find_published
from moelaws.json_file import read_object
from moelaws.quote import shown

if TYPE_CHECKING:
    from moelaws.decoding.engine import AnyDecoder, Engine
    from moelaws.measuring.requests import Requests

_TINY = {"d": "d_model", "E": "n_experts", "K": "top_k", "G": "granularity", "V": "vocab_size", "T": "context"}
_DIGITS = 9
_EXPECTED = "a checkpoint's folder, tiny:d=64,E=8,K=1, or a JSON file of a configuration"
_OTHERS = "the only layout that is read and run; --predict foresees other models on --hardware NAME"


def open_model(
    name: str, device: str = "cpu", engine: "Engine" = "auto", threads: int = 1
) -> "tuple[AnyDecoder, Requests, str]":
    """A model to measure, where its requests come from, and whether its weights are trained or random.

    A checkpoint with the default corpus's vocabulary reads its held-out text; any other model uniform tokens.

    Raises:
        ValueError: no such folder or file, or a configuration that no model can have.
    """
    from moelaws.decoding.engine import make_decoder
    from moelaws.measuring.requests import requests_of, uniform_requests
    from moelaws.measuring.subjects import COPIES, random_decoder
    from moelaws.models.checkpoint import load_checkpoint
    from moelaws.models.layout import CONFIG
    from moelaws.text.corpus import VOCAB_SIZE, load_corpus

    if not name:
        raise ValueError(f"no name of a model; expected {_EXPECTED}")
    if not name.startswith("tiny:") and Path(name).is_dir():
        if (Path(name) / CONFIG).is_file():
            parse_config(str(Path(name) / CONFIG))  # whether it is one that is run here
        decoder = make_decoder(load_checkpoint(name, COPIES).to(device), engine, threads)
        vocab_size = decoder.config.vocab_size
        requests = requests_of(load_corpus()) if vocab_size == VOCAB_SIZE else uniform_requests(vocab_size)
        return decoder, requests, "trained"
    config = parse_config(name)
    return random_decoder(config, device, engine, threads), uniform_requests(config.vocab_size), "random"


def parse_config(name: str) -> ModelConfig:
    """``tiny:d=64,E=8,K=1`` (also G, V, T), a JSON file with fields of ``ModelConfig``, or a ``config.json``.

    Raises:
        ValueError: none of these, or a value that no model can have.
    """
    kind, sign, rest = name.partition(":")
    if sign and kind == "tiny":
        from moelaws.training.recipe import tiny_model

        values = {"d_model": 64}
        for part in filter(None, rest.split(",")):
            letter, _, number = part.partition("=")
            if letter not in _TINY or not number.isdecimal() or len(number) > _DIGITS:
                raise ValueError(
                    f"{shown(name)}: found {shown(part)}, expected one of {', '.join(_TINY)} = a whole number"
                )
            values[_TINY[letter]] = int(number)
        return tiny_model(**values)
    if not Path(name).exists():
        if find_published(name):
            raise ValueError(f"{name}: a published model; expected one in the OLMoE layout, {_OTHERS}")
        raise ValueError(f"{name}: No such file or folder; expected {_EXPECTED}")
    fields = read_object(Path(name))
    if "model_type" in fields or "architectures" in fields:
        from moelaws.models.layout import LAYOUT, OURS, config_of

        family = fields.get("model_type")
        if isinstance(family, str) and family in FAMILIES and family not in (LAYOUT, OURS):
            raise ValueError(f"{name}: model_type = {shown(family)}: expected {LAYOUT!r}, {_OTHERS}")
        return config_of(fields, name)
    return ModelConfig.from_dict(fields)
