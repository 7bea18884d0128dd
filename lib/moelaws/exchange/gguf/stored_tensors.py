"""Tensors of a checkpoint's ``.safetensors`` files as NumPy arrays, read when they are wanted; no torch."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moelaws.exchange.config_fields import ConfigFileError
from moelaws.quote import shown

_TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
_MOST_HEADER = 100_000_000  # as the format allows


class TensorFileError(ConfigFileError):
    """A file that is no safetensors file, or a tensor that is not there or not as expected."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in its file.

    Attributes:
        file: its file.
        start: first byte.
        shape, dtype: as the header says.
    """

    file: Path
    start: int
    shape: tuple[int, ...]
    dtype: str

    def read(self) -> NDArray[np.float32]:
        """Its numbers in fp32."""
        count = int(np.prod(self.shape, dtype=np.int64))
        raw = np.fromfile(self.file, dtype=_TYPES[self.dtype], count=count, offset=self.start).reshape(self.shape)
        if self.dtype != "BF16":
            return raw.astype(np.float32)
        return (raw.astype(np.uint32) << 16).view(np.float32)  # bf16 is the upper half of fp32


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a folder's ``.safetensors`` files, by the headers alone.

    Raises:
        TensorFileError: no such file, one that cannot be read, a tensor in two files, or of a type that is no number.
    """
    found: dict[str, StoredTensor] = {}
    files = sorted(file for file in folder.glob("*.safetensors") if file.is_file())
    if not files:
        raise TensorFileError(f"{folder}: no .safetensors file; pickled weights are not read")
    for file in files:
        for name, tensor in _tensors_of(file):
            if name in found:
                raise TensorFileError(f"{file}: tensor {shown(name)} is in {found[name].file.name}, too")
            found[name] = tensor
    return found


def _tensors_of(file: Path) -> list[tuple[str, StoredTensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np"):  # checks header and lengths
            pass
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(length, _MOST_HEADER)))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise TensorFileError(f"{file}: cannot be read: {error}") from None
    found = []
    for name, about in header.items():
        if name != "__metadata__":
            if about["dtype"] not in _TYPES:
                raise TensorFileError(
                    f"{file}: tensor {shown(name)} is of type {shown(about['dtype'])}: expected {', '.join(_TYPES)}"
                )
            begin = 8 + length + about["data_offsets"][0]
            found.append((name, StoredTensor(file, begin, tuple(about["shape"]), about["dtype"])))
    return found
