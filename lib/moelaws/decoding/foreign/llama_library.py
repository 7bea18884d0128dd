"""The library of llama.cpp, called through its C interface; nothing of it is compiled or shipped here.

Its structures of parameters change from one release to the next, so none is described: the library fills in its own
defaults in memory that is large enough for any, and what is set lies at its unchanging beginning, or is found by its
default. They are handed over by value, behind which no argument follows.
"""

import ctypes
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

PLACE = "MOELAWS_LLAMA_CPP"
"""Environment variable that names the folder of ``libllama``."""
_PACKAGE = Path("node_modules/@node-llama-cpp/linux-x64/bins/linux-x64")
HOW = f"npm install @node-llama-cpp/linux-x64, or name the folder of libllama in {PLACE}"
"""How it comes here."""
_FIELDS = 256  # of four bytes: several times what any release has
_CONTEXT, _BATCH, _MICRO_BATCH, _SEQUENCES = range(4)  # the first fields of a context's parameters, since 2023
_HALF, _SINGLE = 1, 0  # types of numbers: fp16, the default of keys and values, and fp32
_AUTO, _NEVER = 2**32 - 1, 0
_FIRST_POINTER = 20  # keys' and values' types come after the numbers and behind pointers


class LlamaError(ValueError):
    """llama.cpp is not there, or refuses what it is given."""


class Parameters(ctypes.Structure):
    """Parameters of some release, by place."""

    _fields_ = (("field", ctypes.c_uint32 * _FIELDS),)


class Batch(ctypes.Structure):
    """``llama_batch``: tokens, each with its place and its sequence."""

    _fields_ = (
        ("count", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("token", "embedding", "place", "sequences", "sequence", "wanted")),
    )


@cache
def library() -> Any:
    """The library, loaded, its processors' code with it.

    Raises:
        LlamaError: it is not there, or is not what it seems.
    """
    folder = _folder()
    try:
        loaded = [_load(folder, name) for name in ("libggml-base", "libggml", "libllama")]
        ggml, llama = loaded[1], loaded[2]
        ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
        llama.llama_log_set(_SILENT, None)
        ggml.ggml_log_set(_SILENT, None)
        ggml.ggml_backend_load_all_from_path(os.fsencode(folder))
        for name, result, arguments in _FUNCTIONS:
            function = getattr(llama, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise LlamaError(f"llama.cpp in {folder}: cannot be used ({error})") from None
    return llama


def context_parameters(llama: Any, tokens: int, rows: int, sequences: int, exact: bool) -> Parameters:
    """Parameters of a context.

    Args:
        llama: the library.
        tokens: of each sequence.
        rows: at once.
        sequences: how many.
        exact: keys and values in fp32, and attention in fp32 too; by its defaults both are in fp16.

    Raises:
        LlamaError: this release keeps what makes it exact at another place.
    """
    parameters = llama.llama_context_default_params()
    values = parameters.field
    values[_CONTEXT], values[_BATCH] = tokens * sequences, max(rows, 1)
    values[_MICRO_BATCH], values[_SEQUENCES] = min(max(rows, 1), 2048), sequences
    if exact:
        cache = _found(parameters, [_HALF, _HALF], range(_FIRST_POINTER, 2 * _FIRST_POINTER))
        values[cache] = values[cache + 1] = _SINGLE
        # Kinds of rope, pooling, attention, flash attention: all to be found out by the library.
        values[_found(parameters, [_AUTO] * 4, range(_SEQUENCES, _FIRST_POINTER)) + 3] = _NEVER
    return parameters


def _found(parameters: Parameters, wanted: list[int], among: range) -> int:
    """The one place where these defaults stand."""
    places = [at for at in among if list(parameters.field[at : at + len(wanted)]) == wanted]
    if len(places) != 1:
        raise LlamaError(
            "llama.cpp: this release keeps the types of its cache and attention at another place than known"
        )
    return places[0]


def _folder() -> Path:
    named = os.environ.get(PLACE)
    if named:
        if not Path(named).is_dir():
            raise LlamaError(f"{PLACE} = {named!r}: no such folder; {HOW}")
        return Path(named)
    here = Path.cwd()
    for parent in (here, *here.parents):
        if (parent / _PACKAGE).is_dir():
            return parent / _PACKAGE
    raise LlamaError(f"llama.cpp is not here: {HOW}")


def library_file() -> Path:
    """The file of the library; its name says which release it is, where its maker says so.

    Raises:
        LlamaError: it is not there.
    """
    folder = _folder()
    try:
        return _file(folder, "libllama")
    except OSError as error:
        raise LlamaError(f"llama.cpp in {folder}: {error}") from None


def _load(folder: Path, name: str) -> Any:
    return ctypes.CDLL(str(_file(folder, name)), mode=ctypes.RTLD_GLOBAL)


def _file(folder: Path, name: str) -> Path:
    """A library by its name, whatever its version."""
    files = sorted(file for file in folder.iterdir() if re.fullmatch(rf"{name}(\.v?[\d.]+)?\.so[\d.]*", file.name))
    if not files:
        raise OSError(f"no {name}.so there")
    return files[0]


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _SILENT(level: int, text: bytes, data: Any) -> None:
    """It tells on standard error of every tensor."""


_POINTER, _INT = ctypes.c_void_p, ctypes.c_int32
_FUNCTIONS: tuple[tuple[str, Any, list[Any]], ...] = (
    ("llama_model_default_params", Parameters, []),
    ("llama_context_default_params", Parameters, []),
    ("llama_model_load_from_file", _POINTER, [ctypes.c_char_p, Parameters]),
    ("llama_init_from_model", _POINTER, [_POINTER, Parameters]),
    ("llama_set_n_threads", None, [_POINTER, _INT, _INT]),
    ("llama_get_memory", _POINTER, [_POINTER]),
    ("llama_memory_clear", None, [_POINTER, ctypes.c_bool]),
    ("llama_decode", _INT, [_POINTER, Batch]),
    ("llama_get_logits", _POINTER, [_POINTER]),
    ("llama_free", None, [_POINTER]),
    ("llama_model_free", None, [_POINTER]),
)
