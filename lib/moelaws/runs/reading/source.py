"""The bytes of a table file: a regular file, decompressed within bounds, or one sentence on what it is instead."""

import bz2
import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from moelaws.quote import listed, plain
from moelaws.runs.error import RunTableError

MOST_BYTES = 256 << 20
"""The longest table that is read, in bytes after decompression."""

# A compressed file may always grow to this; beyond, to so many times its own size: tables shrink to a tenth, bombs
# to a thousandth.
_FREE_BYTES = 32 << 20
_MOST_GROWTH = 100
_LZMA_MEMORY = 256 << 20

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip"}
COMPRESSED_NAMES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zip": "zip"}
OTHER_FORMATS = {
    b"ARROW1": "an Arrow file",
    b"FEA1": "a Feather file",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself (git lfs pull fetches it)",
}


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


def read_source(path: str | Path) -> bytes:
    """Read a file whole, decompressed if it is compressed.

    Args:
        path: a regular file; gzip, bzip2, xz, or zip with one member, are known by their content.

    Returns:
        Its bytes.

    Raises:
        RunTableError: no such file, a folder or device, unreadable, damaged, too long, or of another format.
    """
    name = plain(Path(path).name or path)
    data = _read(path, name)
    kind = _kind(data)
    promised = COMPRESSED_NAMES.get(Path(path).suffix.lower())
    if promised and kind is None:
        raise RunTableError(f"{name}: not a {promised} file, although its name says so")
    if kind is not None:
        data = _decompressed(data, kind, name)
        if (inner := _kind(data)) is not None:
            raise RunTableError(f"{name}: holds another {inner} file; expected a table inside")
    for start, what in OTHER_FORMATS.items():
        if data.startswith(start):
            raise RunTableError(f"{name}: {what}; expected CSV, JSON lines or Parquet")
    return data


def _read(path: str | Path, name: str) -> bytes:
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise RunTableError(f"{plain(path)}: a folder; expected a table in a file")
        if not stat.S_ISREG(found.st_mode):
            # A pipe or a terminal would be waited for, and a device may never end.
            raise RunTableError(f"{plain(path)}: a pipe or device; expected a table in a file")
        if found.st_size > MOST_BYTES:
            raise _too_long(name)
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise RunTableError(f"{plain(path, 200)}: no such file") from None
    except RunTableError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RunTableError(f"{plain(path)}: cannot be read ({plain(reason)})") from None
    if len(data) > MOST_BYTES:
        raise _too_long(name)
    return data


def _too_long(name: str) -> RunTableError:
    return RunTableError(f"{name}: longer than {MOST_BYTES >> 20} MB, the most that is read; keep the columns you need")


def _kind(data: bytes) -> str | None:
    return next((kind for start, kind in COMPRESSED.items() if data.startswith(start)), None)


def _decompressed(data: bytes, kind: str, name: str) -> bytes:
    most = min(MOST_BYTES, max(_FREE_BYTES, _MOST_GROWTH * len(data)))
    try:
        if kind == "zip":
            out = _unzipped(data, name, most)
        else:
            # 31: a gzip header and trailer around deflate.
            make: dict[str, Callable[[], _Decompressor]] = {
                "gzip": lambda: _Deflate(),
                "bzip2": bz2.BZ2Decompressor,
                "xz": lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY),
            }
            out = _streams(data, make[kind], most)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, MemoryError) as error:
        if isinstance(error, RunTableError):
            raise
        raise RunTableError(f"{name}: damaged, or cut short: not readable as {kind}") from None
    if len(out) > most:
        raise RunTableError(f"{name}: holds more than {most >> 20} MB when decompressed; expected a table")
    return out


class _Deflate:
    """zlib's decompressor with the manners of the others: it keeps what it has not consumed yet."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(0, max_length))


def _streams(data: bytes, make: Callable[[], _Decompressor], most: int) -> bytes:
    """All streams of a file, one after another, up to one byte more than ``most``."""
    parts: list[bytes] = []
    room = most + 1
    while data and room > 0:
        stream, chunk = make(), data
        while not stream.eof and room > 0:
            part = stream.decompress(chunk, room)
            if not part and not chunk and not stream.eof:
                raise EOFError
            parts.append(part)
            room -= len(part)
            chunk = b""
        data = stream.unused_data.lstrip(b"\0") if stream.eof else b""
    return b"".join(parts)


def _unzipped(data: bytes, name: str, most: int) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
            names = [member.filename for member in members]
            if "[Content_Types].xml" in names:
                raise RunTableError(f"{name}: an Excel workbook or other office document; save the sheet as CSV")
            if len(members) != 1:
                raise RunTableError(f"{name}: expected one table in the zip file, found {listed(names)}")
            if members[0].flag_bits & 1:
                raise RunTableError(f"{name}: the zip file is encrypted; expected a table")
            with archive.open(members[0]) as file:
                return file.read(most + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        raise RunTableError(f"{name}: damaged, or cut short: not readable as zip") from None
