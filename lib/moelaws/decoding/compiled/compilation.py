"""The compiled step: made once, then read from the disk.

numba keeps what it has compiled beside the source, which may be a folder that nobody may write, and looks for changes
in the one file of the function alone. So the place is ours: the library's cache folder (or ``$NUMBA_CACHE_DIR``), a
folder for each state of all the sources and each width of vector.
"""

import hashlib
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import types

from moelaws.decoding.compiled import tiles
from moelaws.decoding.compiled.decode_step import step
from moelaws.files import cache_folder
from moelaws.models.norm import NORM_EPSILON
from moelaws.stages import stage


@cache
def compiled_step() -> Callable[..., int]:
    """``decode_step.step`` as machine code for this processor: compiled in seconds, or found on the disk."""
    folder = _folder()
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder or "")
    try:
        function: Any = numba.njit(
            fastmath=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True, cache=folder is not None
        )(step)
    finally:
        numba.config.CACHE_DIR = before
    with stage("compiling the decoder, once on this machine"):
        function.compile((types.int64[::1], types.int64))
    function.disable_compile()
    ready: Callable[..., int] = function
    return ready


def _folder() -> Path | None:
    """Where the compiled code of these sources lies, or ``None`` if no such folder can be written."""
    digest = hashlib.sha256(f"{numba.__version__} {tiles.VECTOR} {tiles.MOST_ROWS} {NORM_EPSILON}".encode())
    try:
        for source in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(source.read_bytes())
        folder = Path(numba.config.CACHE_DIR or cache_folder()) / "compiled" / digest.hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None
