"""Checkpoints in the Hugging Face OLMoE layout: ``config.json`` and ``model.safetensors``, nothing pickled.

What is saved here opens in ``transformers`` as ``OlmoeForCausalLM``, and what that saves opens here.
"""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from moelaws.available_memory import require_memory
from moelaws.config import ModelConfig
from moelaws.counting import count_parameters
from moelaws.field import described
from moelaws.json_file import JsonFileError, read_object
from moelaws.models.bit_planes import BitPlanes
from moelaws.models.experts import ExpertsLayer
from moelaws.models.layout import CONFIG, NOT_OLMOE, OURS, CheckpointError, config_of, fields_of, read_config, slots
from moelaws.models.tensor_files import CODES, SCALES, find_tensors, match, read_tensors
from moelaws.models.transformer import Transformer

__all__ = ["CheckpointError", "check_folder", "load_checkpoint", "read_config", "save_checkpoint"]

_WEIGHTS = "model.safetensors"
_TOKENIZER = "tokenizer.json"
_BUILDING = ".moelaws-"  # how the name of a folder begins in which a checkpoint is made


def save_checkpoint(
    model: Transformer, folder: str | Path, tokenizer: str | Path | None = None,
    packed: Mapping[str, BitPlanes] | None = None,
) -> None:  # fmt: skip
    """Write a model in the OLMoE layout; an older checkpoint in the folder is replaced, never half of it.

    Args:
        model: the model, on any device.
        folder: where to write, see ``check_folder``; made if absent.
        tokenizer: a ``tokenizer.json`` to put beside it.
        packed: tensors to write in few bits, by their name in the layout, as ``compress`` gives them. Such a model is
            no OLMoE model for other programs, and says so; it opens here.

    Raises:
        CheckpointError: something about the model has no place in the layout, named; the folder is somebody's; or the
            disk is full.
        OSError: the folder cannot be made or written to.

    Examples:
        >>> import tempfile
        >>> from moelaws.config import ModelConfig
        >>> config = ModelConfig(vocab_size=64, d_model=16, n_layers=1, n_heads=2, d_ff=32, n_experts=4, top_k=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(Transformer(config), f"{folder}/model")
        ...     load_checkpoint(f"{folder}/model").config == config
        True
    """
    _require_expressible(model)
    folder = Path(folder)
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    packed = packed or {}
    tensors = {
        slot.name: slot.view(model).detach().reshape(slot.shape).contiguous().cpu()
        for slot in slots(model.config)
        if slot.name not in packed
    }
    for name, planes in packed.items():
        tensors |= {name + CODES: planes.planes, name + SCALES: planes.scales_RH}
    if not model.config.is_moe:
        tensors |= {name: torch.zeros(1, model.config.d_model) for name in _dense_gates(model.config)}
    with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=folder) as building:
        try:
            save_file(tensors, Path(building) / _WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:
            raise CheckpointError(f"{folder}: the weights cannot be written ({error})") from None
        fields = fields_of(model.config) | (NOT_OLMOE if packed else {})
        (Path(building) / CONFIG).write_text(json.dumps(fields, indent=2) + "\n")
        # safetensors keeps weights from all but their owner, whatever the umask.
        os.chmod(Path(building) / _WEIGHTS, (Path(building) / CONFIG).stat().st_mode & 0o777)
        if tokenizer is not None:
            shutil.copyfile(tokenizer, Path(building) / _TOKENIZER)
        # Without its configuration a folder is no checkpoint: whoever is killed in between leaves no mixture of two.
        (folder / CONFIG).unlink(missing_ok=True)
        for name in (_WEIGHTS, _TOKENIZER, CONFIG):
            if (Path(building) / name).exists():
                (Path(building) / name).replace(folder / name)
    for left in folder.glob(f"{_BUILDING}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)


def check_folder(folder: str | Path) -> None:
    """Find out whether a checkpoint may be saved in a folder: it is absent, empty, or holds one that was saved here.

    Raises:
        CheckpointError: a file has its name, or it holds something of somebody's.
    """
    folder = Path(folder)
    try:
        names = set(os.listdir(folder))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise CheckpointError(f"{folder}: a file has this name; expected a folder for the model") from None
    unfinished = {name for name in names if name.startswith(_BUILDING)}
    others = names - unfinished
    if not others or (unfinished and others <= {_WEIGHTS, _TOKENIZER}) or _is_saved_here(folder):
        return
    raise CheckpointError(
        f"{folder}: not empty, and not a checkpoint that moelaws saved; name another folder, or empty this one"
    )


def _is_saved_here(folder: Path) -> bool:
    try:
        return isinstance(read_object(folder / CONFIG).get(OURS), dict)
    except JsonFileError:
        return False


def load_checkpoint(folder: str | Path, copies: int = 1) -> Transformer:
    """Read a model in the OLMoE layout, written here or by ``transformers``.

    The configuration is compared with the headers of the files, and the size with the memory there is, before
    anything is allocated.

    Args:
        folder: holds ``config.json`` and one or more ``.safetensors`` files.
        copies: of the weights that the memory must hold, for whoever makes more of them.

    Returns:
        The model in fp32 on the CPU.

    Raises:
        CheckpointError: a file or tensor is missing, of another shape, or of no use here; or the configuration asks
            for something that these models do not have. The message names the file and the field or tensor.
        TooLargeError: the model does not fit the memory.

    Examples:
        >>> import tempfile
        >>> from moelaws.config import ModelConfig
        >>> config = ModelConfig(vocab_size=64, d_model=16, n_layers=1, n_heads=2, d_ff=32, n_experts=4, top_k=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(Transformer(config), folder)
        ...     tuple(load_checkpoint(folder).embedding.shape)
        (64, 16)
    """
    folder = Path(folder)
    config = read_config(folder)
    found = find_tensors(folder)
    unused = [] if config.is_moe else [name for name in found if name.endswith("mlp.gate.weight")]
    if config.tied_embeddings and "lm_head.weight" in found:
        unused.append("lm_head.weight")
    match(slots(config), {name: stored for name, stored in found.items() if name not in set(unused)}, folder)
    count = count_parameters(config).total
    require_memory(copies * 4 * count, f"{folder}: a model of {count:.3g} parameters")
    model = Transformer(config)
    with torch.no_grad():
        for slot, tensor in read_tensors(slots(config), found):
            view = slot.view(model)
            view.copy_(tensor.reshape(view.shape))
    return model


def _dense_gates(config: ModelConfig) -> list[str]:
    return [f"model.layers.{layer}.mlp.gate.weight" for layer in range(config.n_layers)]


def _require_expressible(model: Transformer) -> None:
    """Refuse a model that would be read as another one."""
    config = model.config
    biased = any(isinstance(b.experts, ExpertsLayer) and bool(b.experts.balance_bias.any()) for b in model.blocks)
    again = config_of(fields_of(config), CONFIG)
    if not config.is_moe:
        again = replace(again, moe_every=config.moe_every)  # every block is dense, whichever have experts
    lost = {
        field.name: getattr(config, field.name)
        for field in described(config)
        if getattr(config, field.name) != getattr(again, field.name)
    }
    written, there = (sum(size) for size in (
        (math.prod(slot.shape) for slot in slots(config)), (p.numel() for p in model.parameters())
    ))  # fmt: skip
    if biased:
        lost["balance_bias"] = "not zero"
    elif not lost and written != there:
        lost["parameters"] = f"{there}, of which the layout keeps {written}"
    for name, value in lost.items():
        raise CheckpointError(f"{name} = {value}: the OLMoE layout has no place for it; the model is not written")
