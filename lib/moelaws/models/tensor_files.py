"""Tensors in ``.safetensors`` files: which there are, by the headers alone, and one after the other when wanted."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from moelaws.models.bit_planes import MOST_BITS, BitPlanes
from moelaws.models.layout import CheckpointError, Slot
from moelaws.quote import shown

CODES, SCALES = ".codes", ".scales"
"""Ends of the names of a tensor in few bits: its planes of bits, and a scale for each group of a row."""
_NUMBERS = ("F64", "F32", "F16", "BF16")
_MOST_LISTED = 10_000
"""Files in a folder; the largest public models have some hundreds."""


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies, and what its file's header says of it."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


def find_tensors(folder: Path) -> dict[str, Stored]:
    """The tensors of a folder's ``.safetensors`` files; no weights are read.

    Raises:
        CheckpointError: no such file, one that cannot be read, or a tensor that two of them hold.
    """
    files = sorted(file for file in folder.glob("*.safetensors") if file.is_file())
    if not files:
        raise CheckpointError(f"{folder}: no .safetensors file; pickled weights are not read")
    if len(files) > _MOST_LISTED:
        raise CheckpointError(f"{folder}: {len(files)} .safetensors files; expected at most {_MOST_LISTED}")
    found: dict[str, Stored] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118, it is no mapping
                    if name in found:
                        raise CheckpointError(f"{file}: tensor {shown(name)} is in {found[name].file.name}, too")
                    part = tensors.get_slice(name)
                    found[name] = Stored(file, tuple(part.get_shape()), str(part.get_dtype()))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: cannot be read: {error}") from None
    return found


def match(slots: Iterable[Slot], found: Mapping[str, Stored], folder: Path) -> None:
    """Compare what a model needs with what there is; ends at the first difference, however large the model is.

    Raises:
        CheckpointError: a tensor is missing, of another shape, of a type that is no number, or of no use.
    """
    left = set(found)
    for slot in slots:
        stored = found.get(slot.name)
        if stored is None and slot.name + CODES in found:
            _match_planes(slot, found, folder)
            left -= {slot.name + CODES, slot.name + SCALES}
            continue
        if stored is None:
            raise CheckpointError(f"{folder}: {_missing(slot.name, found)}")
        if stored.shape != slot.shape:
            raise CheckpointError(f"{folder}: {slot.name!r} has shape {shown(stored.shape)}, expected {slot.shape}")
        if stored.dtype not in _NUMBERS:
            raise CheckpointError(
                f"{folder}: {slot.name!r} holds {shown(stored.dtype)}, expected one of {', '.join(_NUMBERS)}"
            )
        left.remove(slot.name)
    if left:
        raise CheckpointError(
            f"{folder}: tensor {shown(min(left), 120)} has no place in the model that config.json describes"
        )


def read_tensors(slots: Iterable[Slot], found: Mapping[str, Stored]) -> Iterator[tuple[Slot, Tensor]]:
    """Each slot with its tensor, one at a time, file after file."""
    by_file: dict[Path, list[Slot]] = {}
    for slot in slots:
        name = slot.name if slot.name in found else slot.name + CODES
        by_file.setdefault(found[name].file, []).append(slot)
    for file, its in by_file.items():
        with safe_open(file, framework="pt") as tensors:
            for slot in its:
                if slot.name in found:
                    yield slot, tensors.get_tensor(slot.name)
                    continue
                planes, scales = (tensors.get_tensor(slot.name + end) for end in (CODES, SCALES))
                yield slot, BitPlanes(planes, scales, slot.shape[1]).matrix()


def _match_planes(slot: Slot, found: Mapping[str, Stored], folder: Path) -> None:
    """Compare a tensor in few bits with what a model needs.

    Raises:
        CheckpointError: it has no scales, or codes or scales are not those of a matrix of this shape.
    """
    codes, scales = found[slot.name + CODES], found.get(slot.name + SCALES)
    if scales is None or scales.file != codes.file or len(slot.shape) != 2:
        raise CheckpointError(f"{folder}: {slot.name + CODES!r} has no {SCALES!r} beside it, or stands for no matrix")
    (rows, columns), bytes_a_plane = slot.shape, -(-math.prod(slot.shape) // 8)
    fits = len(codes.shape) == 2 and 1 <= codes.shape[0] <= MOST_BITS and codes.shape[1] == bytes_a_plane
    if not fits or codes.dtype != "U8":
        raise CheckpointError(
            f"{folder}: {slot.name + CODES!r} holds {shown(codes.dtype)} of shape {shown(codes.shape)}, expected U8 of "
            f"1 to {MOST_BITS} planes of {bytes_a_plane} bytes"
        )
    fits = len(scales.shape) == 2 and scales.shape[0] == rows and 1 <= scales.shape[1] <= columns
    if not fits or scales.dtype != "F16":
        raise CheckpointError(
            f"{folder}: {slot.name + SCALES!r} holds {shown(scales.dtype)} of shape {shown(scales.shape)}, expected "
            f"F16 of {rows} rows of 1 to {columns} scales"
        )


def _missing(name: str, found: Mapping[str, Stored]) -> str:
    start, experts, _ = name.partition(".mlp.experts.")
    fused = [other for other in found if other.startswith(f"{start}.mlp.experts.")]
    fused = [other for other in fused if not other[len(start) + len(experts)].isdigit()]
    if experts and fused:
        return (
            f"tensor {shown(min(fused), 120)} holds all experts of a layer in one; expected a tensor an expert, "
            f"the first {name!r}"
        )
    return f"no tensor {name!r} in the safetensors files"
