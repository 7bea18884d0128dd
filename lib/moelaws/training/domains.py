"""The domains of a corpus: one text, or several that are read together, each with documents of its own."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moelaws.training.docstrings import PACKAGES, check_versions, read_docstrings
from moelaws.training.documents import CorpusError, read_documents

NAMED = ("sotu", "docstrings")


@dataclass(frozen=True)
class Domain:
    """Text of one kind.

    Attributes:
        name: ``sotu``, ``docstrings``, or the name of the reader's file or folder.
        key: changes whenever the text does.
        read: gives the documents, in a fixed order. Docstrings take seconds to collect: do not call it for nothing.
    """

    name: str
    key: str
    read: Callable[[], tuple[str, ...]]


def find_domains(source: str | Path) -> tuple[str, tuple[Domain, ...]]:
    """The domains that a corpus is made of.

    Args:
        source: ``"sotu"``; ``"docstrings"``; both as ``"sotu+docstrings"``; a UTF-8 text file; or a folder whose
            ``.txt`` and ``.md`` files are documents.

    Returns:
        The corpus's name and its domains.

    Raises:
        CorpusError: a file is missing, empty or not UTF-8; a folder has no text; a package is not the recorded one;
            a mixture names a domain twice.
    """
    names = source.split("+") if isinstance(source, str) else []
    if not names or not set(names) <= set(NAMED):
        name, documents = read_documents(source)
        return name, (_written(name, documents),)
    if len(set(names)) < len(names):
        raise CorpusError(f"{source}: a domain is named twice; expected each of {', '.join(NAMED)} at most once")
    return "+".join(names), tuple(_DOMAINS[name]() for name in names)


def _written(name: str, documents: tuple[str, ...]) -> Domain:
    digest = hashlib.sha256()
    for document in documents:
        text = document.encode()
        digest.update(f"{len(text)} ".encode())
        digest.update(text)
    return Domain(name, digest.hexdigest(), lambda: documents)


def _sotu() -> Domain:
    return _written(*read_documents("sotu"))


def _docstrings() -> Domain:
    check_versions()
    return Domain("docstrings", repr(PACKAGES), read_docstrings)


_DOMAINS: dict[str, Callable[[], Domain]] = {"sotu": _sotu, "docstrings": _docstrings}
