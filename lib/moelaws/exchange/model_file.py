"""A model as a reader names it: a ``config.json``, its folder, its fields, or the name of a published model."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from moelaws.exchange.architecture import Architecture
from moelaws.exchange.config_fields import ConfigFileError, Fields
from moelaws.exchange.families import FAMILIES
from moelaws.exchange.published_models import find_published, published_names
from moelaws.json_file import JsonFileError, read_object
from moelaws.quote import listed, shown

_CONFIG = "config.json"
_PARTS = ("text_config", "language_config", "llm_config")
"""Where a model of several senses keeps its language model."""
_HYBRIDS = (
    "jamba", "bamba", "zamba", "zamba2", "mamba", "mamba2", "falcon_mamba", "falcon_h1", "granitemoehybrid",
    "nemotron_h", "minimax", "kimi_linear", "qwen3_next", "qwen3_5", "qwen3_5_moe", "lfm2", "lfm2_moe", "olmo_hybrid",
    "recurrent_gemma", "rwkv", "xlstm",
)  # fmt: skip
_NOT_COUNTED = "a hybrid, whose layers are not all attention: neither its parameters nor its state are counted here"


def find_model(source: str | Path | Mapping[str, Any]) -> tuple[str, Architecture]:
    """A model's name and its architecture.

    Args:
        source: a ``config.json`` of Hugging Face, a folder that holds one, its fields, or the name of a published
            model, whatever its case. A file or folder of that name comes first.

    Raises:
        ConfigFileError: no such thing; no JSON object; a family that is not counted; a field of the wrong kind.
    """
    if isinstance(source, Mapping):
        return "config", architecture_of(source, "config")
    if not str(source).strip():
        raise ConfigFileError("no name of a model; expected a config.json, its folder, or a published model's name")
    path = _file_of(Path(source))
    if path is not None:
        try:
            content = read_object(path)
        except JsonFileError as error:
            raise ConfigFileError(str(error)) from None
        name = path.resolve().parent.name if path.name == _CONFIG else path.stem
        return name, architecture_of(content, str(path))
    found = find_published(str(source))
    if found is None:
        if hybrid := next((kind for kind in _HYBRIDS if str(source).lower().rpartition("/")[2].startswith(kind)), ""):
            raise ConfigFileError(f"{shown(str(source))}: {hybrid}: {_NOT_COUNTED}")
        raise ConfigFileError(
            f"{shown(str(source))}: no such file, folder or published model; known are "
            f"{listed(published_names(), str(source), 6)}"
        )
    return found.name, architecture_of(found.config, found.name)


def _file_of(path: Path) -> Path | None:
    """The file that a path stands for; none if nothing is there."""
    with suppress(OSError):  # a name longer than any file's is that of no file
        if path.is_dir():
            return path / _CONFIG
        if path.exists():
            return path
    return path if path.name == _CONFIG else None


def architecture_of(content: Mapping[str, Any], name: str) -> Architecture:
    """The architecture that the fields of a ``config.json`` describe.

    Args:
        content: the fields.
        name: of the file, for messages.

    Raises:
        ConfigFileError: a family that is not counted, or a field of the wrong kind.
    """
    kind = content.get("model_type")
    for part in _PARTS:
        inner = content.get(part)
        if isinstance(inner, Mapping) and inner.get("model_type") in FAMILIES:
            whole = architecture_of(inner, f"{name}: {part}")
            return replace(whole, notes=(*whole.notes, "the language model alone, without what reads images or sound"))
    if kind in _HYBRIDS:
        raise ConfigFileError(f"{name}: model_type = {shown(kind)}: {_NOT_COUNTED}")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ConfigFileError(f"{name}: model_type = {_said(kind)}: counted are {', '.join(FAMILIES)}")
    return FAMILIES[kind](Fields(content, name))


def _said(kind: Any) -> str:
    return "nothing" if kind is None else shown(kind, 40) if isinstance(kind, str) else f"a {type(kind).__name__}"
