"""Program text: the sources, with their documentation, of packages that are installed with this one.

A document is a file of source. It is read, never parsed or imported: what an interpreter makes of it would hang on
the interpreter. Left out are what the installer or the platform decides, texts that are not this package's own, tables
that a program or a measurement made, notices of licences, and passages that stood before, word for word or nearly.
"""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from moelaws.stages import stage
from moelaws.text.documents import CorpusError
from moelaws.text.duplicates import Seen

# Version and licence; all licences are permissive. Another version has other sources, and its runs are not comparable.
PACKAGES = {
    "transformers": ("5.23.0", "Apache-2.0"),
    "torch": ("2.13.0", "BSD-3-Clause"),
    "sympy": ("1.14.0", "BSD-3-Clause"),
    "pandas": ("3.1.1", "BSD-3-Clause"),
    "scipy": ("1.17.1", "BSD-3-Clause"),
    "numpy": ("2.4.6", "BSD-3-Clause"),
    "networkx": ("3.6.1", "BSD-3-Clause"),
    "SQLAlchemy": ("2.1.9", "MIT"),
    "dask": ("2026.8.0", "BSD-3-Clause"),
    "distributed": ("2026.8.0", "BSD-3-Clause"),
    "mypy": ("2.4.1", "MIT"),
    "Pygments": ("2.21.0", "BSD-2-Clause"),
    "altair": ("6.3.0", "BSD-3-Clause"),
    "huggingface_hub": ("2.4.0", "Apache-2.0"),
    "Sphinx": ("7.4.7", "BSD-2-Clause"),
    "ipython": ("9.18.1", "BSD-3-Clause"),
    "narwhals": ("2.29.0", "MIT"),
    "mpmath": ("1.3.0", "BSD-3-Clause"),
    "tornado": ("6.6.1", "Apache-2.0"),
    "pydantic": ("2.14.3", "MIT"),
    "prompt_toolkit": ("3.0.53", "BSD-3-Clause"),
    "rich": ("15.0.0", "MIT"),
    "pytest": ("9.1.1", "MIT"),
    "scipy-stubs": ("1.17.1.5", "BSD-3-Clause"),
    "pandas-stubs": ("3.1.0.261029", "BSD-3-Clause"),
    "pyarrow": ("26.0.1", "Apache-2.0"),
    "fsspec": ("2026.9.0", "BSD-3-Clause"),
    "filelock": ("4.2.11", "MIT"),
}

FORMAT = 1  # raise when the same packages give another text

HELD_OUT_OF = 40  # one group of files in so many is held out

# Folders of other people's text, of data, and of what a program or a measurement wrote; numpy.distutils is absent
# where Python is newer than 3.11.
_SKIPPED_FOLDERS = {
    "_vendor", "_vendored", "vendor", "vendored_packages", "data", "artifacts", "generated", "serialized_patterns",
    "distutils",
}  # fmt: skip
_SKIPPED_FILES = {"__config__.py", "version.py", "_version.py", "_version_meson.py", "_distributor_init.py"}
_COPYLEFT = re.compile(r"GNU (?:Lesser |Affero )?General Public License|Mozilla Public License|Eclipse Public")

# A passage begins with a definition that has an empty line before it.
_PASSAGE = re.compile(r"\n{2,}(?=[ \t]*(?:@|(?:async )?def |class ))")
_HEADER = re.compile(r"\A(?:[ \t]*#[^\n]*\n|\n)+")
_WORD = re.compile(r"[A-Za-z]+")

_TABLE_FROM = 2000  # characters from which on a passage may be a table
_DIGITS = 0.1  # share of the characters that are digits, above which it is one
_RICHNESS = 2.0  # distinct words over the root of all words, under which it is one
_SHORT = 200  # characters under which what is left of a file says nothing


STEPS = ("read", "unusable", "headers", "tables", "copies", "near-copies", "short", "kept")
"""What is counted, in characters: all that is read, what each step takes away, and what is left."""


@dataclass(frozen=True)
class Source:
    """What is left of a file.

    Attributes:
        package: whose it is.
        path: of the file below the folder of installed packages, with forward slashes.
        text: its passages.
    """

    package: str
    path: str
    text: str

    @property
    def held_out(self) -> bool:
        """Whether it is for validation: by a hash of its path.

        Files that bear the name of their folder, as the five or so of each model of transformers do, stay on one side.
        """
        path = PurePosixPath(self.path)
        group = path.parent if f"_{path.parent.name}_" in f"_{path.stem}_" else path
        return int.from_bytes(hashlib.sha256(str(group).encode()).digest()[:8], "big") % HELD_OUT_OF == 0


@dataclass(frozen=True)
class Tally:
    """What became of a package's text.

    Attributes:
        files: files looked at.
        characters: one of ``STEPS`` -> characters.
    """

    files: int
    characters: Counter[str]


def read_packages(packages: Iterable[str] | None = None) -> tuple[list[Source], dict[str, Tally]]:
    """Read what is kept of the packages, in order of package and path.

    Args:
        packages: names of installed distributions; those of ``PACKAGES`` if not given.

    Returns:
        The documents, and what each step took away, by package.

    Raises:
        CorpusError: an installer left no list of a package's files, or a file is gone.
    """
    seen, sources, tallies = Seen(), [], {}
    wanted = tuple(PACKAGES if packages is None else packages)
    with stage("reading packages", len(wanted)) as done:
        for number, package in enumerate(wanted, start=1):
            files, characters = 0, Counter[str]()
            for path, text in _files(package):
                files += 1
                characters["read"] += len(text)
                kept = _keep(text, seen, characters)
                if kept:
                    sources.append(Source(package, path, kept))
            tallies[package] = Tally(files, characters)
            done(number)
    return sources, tallies


def _files(package: str) -> Iterator[tuple[str, str]]:
    """The package's own sources, line ends as on every platform."""
    distribution = metadata.distribution(package)
    # Not `distribution.files`: where the backport of importlib.metadata is loaded, it leaves out files that are gone.
    record = distribution.read_text("RECORD")
    if record is None:
        raise CorpusError(f"{package}: its installer left no list of files (RECORD); install it with pip")
    listed = (PurePosixPath(row[0]) for row in csv.reader(record.splitlines()) if row)
    for file in sorted(listed, key=lambda file: file.parts):
        parts = file.parts
        # Wheels for Windows have lines of their own in a package's first file.
        first = len(parts) == 2 and file.name == "__init__.py"
        if file.suffix not in (".py", ".pyi") or ".." in parts or first or file.name in _SKIPPED_FILES:
            continue
        if not _SKIPPED_FOLDERS.isdisjoint(parts) or "_generated" in file.name:
            continue
        try:
            data = Path(str(distribution.locate_file(file))).read_bytes()
        except FileNotFoundError:
            raise CorpusError(f"{package}: {file} is gone; install the package again") from None
        try:
            yield file.as_posix(), data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:  # a test of encodings
            continue


def _keep(text: str, seen: Seen, characters: Counter[str]) -> str:
    """What is new in a file; empty if too little is."""
    if _COPYLEFT.search(text):
        characters["unusable"] += len(text)
        return ""
    start = _HEADER.match(text)
    notice = start.group() if start else ""
    if re.search("copyright|licen[cs]e", notice, re.IGNORECASE):
        characters["headers"] += len(notice)
        text = text[len(notice) :]
    kept = []
    for passage in _PASSAGE.split(text):
        fate = "tables" if is_table(passage) else _FATES[seen.judge(passage)]
        characters[fate] += len(passage)
        if fate == "kept":
            kept.append(passage.strip("\n"))
    whole = "\n\n".join(kept) + "\n"
    if len(whole) < _SHORT:
        characters["short"] += len(whole)
        characters["kept"] -= len(whole)
        return ""
    return whole


_FATES = {"new": "kept", "copy": "copies", "near-copy": "near-copies"}


def is_table(passage: str) -> bool:
    """Whether a long passage is numbers, or the same few words over and over."""
    if len(passage) < _TABLE_FROM:
        return False
    if sum(map(passage.count, "0123456789")) > _DIGITS * len(passage):
        return True
    words = _WORD.findall(passage)
    return len(set(words)) < _RICHNESS * len(words) ** 0.5
