"""The domains of a corpus: one text, or several that are read together, each with documents of its own."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moelaws.text import docstrings, packages
from moelaws.text.documents import HELD_OUT_EVERY, CorpusError, check_pins, read_documents

NAMED = ("sotu", "docstrings", "packages")


@dataclass(frozen=True)
class Split:
    """The documents of a domain.

    Attributes:
        train: to train on, in a fixed order.
        held_out: to validate on.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class Domain:
    """Text of one kind.

    Attributes:
        name: ``sotu``, ``docstrings``, ``packages``, or the name of the reader's file or folder.
        key: changes whenever the text does.
        read: gives the documents. Those of packages take seconds, or a minute, to collect: do not call it for nothing.
        learn_every: the tokenizer is learned on every n-th training document: a large text needs no more.
    """

    name: str
    key: str
    read: Callable[[], Split]
    learn_every: int = 1


def find_domains(source: str | Path) -> tuple[str, tuple[Domain, ...]]:
    """The domains that a corpus is made of.

    Args:
        source: ``"sotu"``; ``"docstrings"``; ``"packages"``; two of them as ``"sotu+docstrings"``; a UTF-8 text file;
            or a folder whose ``.txt`` and ``.md`` files are documents.

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
    if {"docstrings", "packages"} <= set(names):
        raise CorpusError(f"{source}: what packages holds out would be read in docstrings; expected one of the two")
    return "+".join(names), tuple(_DOMAINS[name]() for name in names)


def _written(name: str, documents: tuple[str, ...]) -> Domain:
    digest = hashlib.sha256()
    for document in documents:
        text = document.encode()
        digest.update(f"{len(text)} ".encode())
        digest.update(text)
    return Domain(name, digest.hexdigest(), lambda: _every_twelfth(documents))


def _every_twelfth(documents: tuple[str, ...]) -> Split:
    kept = tuple(text for i, text in enumerate(documents, start=1) if i % HELD_OUT_EVERY)
    return Split(kept, documents[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])


def _sotu() -> Domain:
    return _written(*read_documents("sotu"))


def _docstrings() -> Domain:
    return Domain("docstrings", repr(docstrings.PACKAGES), _read_docstrings)


def _packages() -> Domain:
    return Domain("packages", f"{packages.FORMAT} {packages.PACKAGES}", _read_packages, learn_every=8)


# Where the tokens are stored already, as on a cluster that they were copied to, no package need be installed: the
# fingerprint says whether they are the recorded ones.
def _read_docstrings() -> Split:
    docstrings.check_versions()
    return _every_twelfth(docstrings.read_docstrings())


def _read_packages() -> Split:
    check_pins("packages", {name: version for name, (version, _) in packages.PACKAGES.items()})
    sources, _ = packages.read_packages()
    train = tuple(source.text for source in sources if not source.held_out)
    return Split(train, tuple(source.text for source in sources if source.held_out))


_DOMAINS: dict[str, Callable[[], Domain]] = {"sotu": _sotu, "docstrings": _docstrings, "packages": _packages}
