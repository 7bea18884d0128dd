"""What each package gives to the corpus ``packages``, and what each step of its making takes away, as a table.

python -m moelaws.text.package_table data/corpora/packages.csv
"""

import csv
import io
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moelaws.files import check_beginning, write_whole
from moelaws.text.corpus import Corpus, load_corpus
from moelaws.text.packages import PACKAGES, STEPS, Source, Tally, read_packages

COLUMNS = (
    "package", "version", "licence", "files", *(step.replace("-", "_") for step in STEPS), "documents",
    "held_out_documents", "train_tokens", "held_out_tokens",
)  # fmt: skip


def package_rows() -> list[dict[str, str | int]]:
    """One row a package, in the order in which the corpus reads them.

    Returns:
        Column -> value: counts of files, characters, documents and tokens.

    Raises:
        CorpusError: the installed packages are not the recorded ones.
    """
    corpus = load_corpus("packages")
    sources, tallies = read_packages()
    tokens = _tokens(corpus, sources)
    return [_row(package, sources, tallies[package], tokens) for package in PACKAGES]


def _row(package: str, sources: list[Source], tally: Tally, tokens: Counter[tuple[str, bool]]) -> dict[str, str | int]:
    version, licence = PACKAGES[package]
    documents = Counter(source.held_out for source in sources if source.package == package)
    characters = {step.replace("-", "_"): tally.characters[step] for step in STEPS}
    return {
        "package": package, "version": version, "licence": licence, "files": tally.files, **characters,
        "documents": documents[False], "held_out_documents": documents[True],
        "train_tokens": tokens[package, False], "held_out_tokens": tokens[package, True],
    }  # fmt: skip


def _tokens(corpus: Corpus, sources: list[Source]) -> Counter[tuple[str, bool]]:
    """(package, held out) -> tokens; documents stand in the corpus in the order of the sources."""
    counts: Counter[tuple[str, bool]] = Counter()
    for held_out, tokens in ((False, corpus.train), (True, corpus.validation)):
        packages = [source.package for source in sources if source.held_out == held_out]
        for package, length in zip(packages, _lengths(tokens), strict=True):
            counts[package, held_out] += int(length)
    return counts


def _lengths(tokens: NDArray[np.uint16]) -> NDArray[np.int64]:
    ends = np.flatnonzero(tokens == tokens[-1]) + 1  # the last token is the end of a text
    return np.diff(ends, prepend=0)


def main(path: str) -> None:
    """Write the table.

    Raises:
        OSError: a file of somebody's is there, or the place cannot be written to.
    """
    check_beginning(Path(path), ",".join(COLUMNS) + "\n")
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(package_rows())
    write_whole(Path(path), text.getvalue())


if __name__ == "__main__":
    main(sys.argv[1])
