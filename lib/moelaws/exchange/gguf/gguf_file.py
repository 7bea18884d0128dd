"""A checkpoint in the OLMoE layout as a GGUF file, which llama.cpp and what is made of it read. No torch."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from moelaws import __version__
from moelaws.exchange.gguf.gguf_vocabulary import Vocabulary, vocabulary_of
from moelaws.exchange.gguf.olmoe_shape import ExportError, OlmoeShape, read_shape
from moelaws.exchange.gguf.stored_tensors import StoredTensor, TensorFileError, stored_tensors
from moelaws.files import check_writable, is_stream, sync_folder
from moelaws.quote import shown
from moelaws.stages import counted

if TYPE_CHECKING:
    from gguf import GGUFWriter

NumberType = Literal["f32", "f16"]
"""Of matrices; gains, and the router, which decides by small differences, stay in fp32."""

_OURS = "moelaws.version"
"""Key by which a file of ours is known."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        tensors: how many.
        size: bytes.
        vocabulary: whether the tokenizer is in it; without, the file holds token ids alone.
    """

    path: Path
    tensors: int
    size: int
    vocabulary: bool


def export_gguf(folder: str | Path, out: str | Path, dtype: NumberType = "f32") -> Exported:
    """Write a checkpoint in the OLMoE layout as one GGUF file of the architecture ``olmoe``.

    Tied embeddings are written twice, and a dense model as one of a single expert, as llama.cpp asks. One tensor is
    in memory at a time, or a layer's experts.

    Args:
        folder: a checkpoint that moelaws or transformers saved.
        out: the file; an older one that was written here is replaced, at once.
        dtype: of matrices.

    Returns:
        What was written.

    Raises:
        ValueError: no checkpoint; something that llama.cpp's olmoe cannot hold, named; the package gguf is missing; a
            file of somebody's in the place.
        OSError: the place cannot be written to.

    Examples:
        >>> import tempfile
        >>> import moelaws as ml
        >>> config = ml.ModelConfig(vocab_size=64, d_model=32, n_layers=1, n_heads=2, d_ff=64, n_experts=4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ml.save_checkpoint(ml.Transformer(config), f"{folder}/model")
        ...     export_gguf(f"{folder}/model", f"{folder}/model.gguf").tensors
        15
    """
    if dtype not in get_args(NumberType):
        raise ExportError(f"dtype = {dtype!r}: expected one of {', '.join(get_args(NumberType))}")
    folder, out = Path(folder), Path(out)
    shape = read_shape(folder / "config.json")
    found = stored_tensors(folder)
    _compare(shape, found, folder)
    _check_place(out)
    try:
        from gguf import GGUFWriter
    except ImportError:
        raise ExportError("the package gguf is missing: pip install 'moelaws[export]'") from None
    vocabulary = vocabulary_of(folder, shape.vocab_size, shape.end)
    target = Path(os.path.realpath(out))
    temporary = target.with_name(f".moelaws-{secrets.token_hex(8)}")
    try:
        with closing(GGUFWriter(temporary, "olmoe")) as writer:
            _write_keys(writer, shape, folder.resolve().name, dtype, vocabulary)
            count = _write_tensors(writer, shape, found, dtype)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    return Exported(out, count, target.stat().st_size, vocabulary is not None)


_MATRICES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj"}  # fmt: skip
_GAINS = {"attn_norm": "input_layernorm", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
          "ffn_norm": "post_attention_layernorm"}  # fmt: skip
_EXPERTS = {"ffn_gate_exps": "gate_proj", "ffn_up_exps": "up_proj", "ffn_down_exps": "down_proj"}


@dataclass(frozen=True)
class _Tensor:
    """One tensor of the file, made of one tensor of the checkpoint, or of one an expert; in fp32, or as asked."""

    name: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    exact: bool = False

    @property
    def whole(self) -> tuple[int, ...]:
        """Shape in the file: experts one after the other."""
        return self.shape if len(self.sources) == 1 else (len(self.sources), *self.shape)


def _tensors(shape: OlmoeShape) -> Iterator[_Tensor]:
    """All of a model's, in the order of its layers."""
    d, table = shape.width, (shape.vocab_size, shape.width)
    yield _Tensor("token_embd.weight", ("model.embed_tokens.weight",), table)
    for layer in range(shape.layers):
        there, here = f"model.layers.{layer}.", f"blk.{layer}."
        for name, source in _GAINS.items():
            yield _Tensor(f"{here}{name}.weight", (f"{there}{source}.weight",), (d,), exact=True)
        for name, source in _MATRICES.items():
            yield _Tensor(f"{here}{name}.weight", (f"{there}{source}.weight",), (d, d))
        yield _Tensor(f"{here}ffn_gate_inp.weight", (f"{there}mlp.gate.weight",), (shape.n_experts, d), exact=True)
        for name, source in _EXPERTS.items():
            size = (d, shape.hidden) if source == "down_proj" else (shape.hidden, d)
            experts = tuple(f"{there}mlp.experts.{e}.{source}.weight" for e in range(shape.n_experts))
            yield _Tensor(f"{here}{name}.weight", experts, size)
    yield _Tensor("output_norm.weight", ("model.norm.weight",), (d,), exact=True)
    output = "model.embed_tokens.weight" if shape.tied else "lm_head.weight"
    yield _Tensor("output.weight", (output,), table)


def _compare(shape: OlmoeShape, found: dict[str, StoredTensor], folder: Path) -> None:
    """Compare what a file needs with what there is; ends at the first difference."""
    used = set()
    for tensor in _tensors(shape):
        for source in tensor.sources:
            there = found.get(source)
            if there is None:
                raise TensorFileError(f"{folder}: no tensor {source!r} in the safetensors files")
            if there.shape != tensor.shape:
                raise TensorFileError(f"{there.file}: {source} has shape {there.shape}, expected {tensor.shape}")
            used.add(source)
    if left := sorted(set(found) - used - ({"lm_head.weight"} if shape.tied else set())):
        raise ExportError(f"{folder}: tensor {shown(left[0], 120)}: llama.cpp's olmoe has no place for it")


def _check_place(out: Path) -> None:
    """Refuse a place where there is a file of somebody's.

    Raises:
        OSError: it is there, or the place cannot be written to.
    """
    if is_stream(out):
        raise ExportError(f"{out}: found a device or pipe, expected a file, as GGUF is written in steps")
    check_writable(out)
    if out.exists():
        with out.open("rb") as file:
            begins = file.read(4096)
        if begins and not (begins.startswith(b"GGUF") and _OURS.encode() in begins):
            raise FileExistsError(errno.EEXIST, "another file has this name; name a new one, or remove it", str(out))


def _write_keys(
    writer: "GGUFWriter", shape: OlmoeShape, name: str, dtype: NumberType, vocabulary: Vocabulary | None
) -> None:
    from gguf import LlamaFileType

    writer.add_string(_OURS, __version__)
    writer.add_name(name)
    writer.add_file_type(LlamaFileType.ALL_F32 if dtype == "f32" else LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(shape.vocab_size)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_freq_base(shape.theta)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_expert_count(shape.n_experts)
    writer.add_expert_used_count(shape.top_k)
    if vocabulary is None:
        writer.add_tokenizer_model("none")
        return
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_eos_token_id(vocabulary.end)
    writer.add_bos_token_id(vocabulary.end)
    writer.add_add_bos_token(False)


def _write_tensors(writer: "GGUFWriter", shape: OlmoeShape, found: dict[str, StoredTensor], dtype: NumberType) -> int:
    """All tensors, one at a time; how many."""
    everything = list(_tensors(shape))
    for tensor in everything:
        kind = np.dtype(np.float32 if tensor.exact or dtype == "f32" else np.float16)
        bytes_ = int(np.prod(tensor.whole, dtype=np.int64)) * kind.itemsize
        writer.add_tensor_info(tensor.name, tensor.whole, kind, bytes_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in counted(everything, "writing tensors", len(everything)):
        writer.write_tensor_data(_numbers(tensor, found, dtype))
    return len(everything)


def _numbers(tensor: _Tensor, found: dict[str, StoredTensor], dtype: NumberType) -> NDArray[Any]:
    parts = [found[source].read() for source in tensor.sources]
    whole = parts[0] if len(parts) == 1 else np.stack(parts)
    whole = whole.reshape(tensor.whole)
    return whole if tensor.exact or dtype == "f32" else whole.astype(np.float16)
