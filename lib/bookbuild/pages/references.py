"""References of the book, read from its BibTeX files: who wrote a work, when, and where it is found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bookbuild.error import BookError


@dataclass(frozen=True)
class Reference:
    """A work as a sentence names it.

    Arguments:
        authors: last names: one, two, or the first with "et al.".
        year: of publication.
        url: where it is found; empty where the entry does not say.
    """

    authors: str
    year: str
    url: str


def read_references(files: Iterable[Path]) -> Mapping[str, Reference]:
    """Read BibTeX files.

    Returns:
        Key -> reference.

    Raises:
        BookError: a file that is not BibTeX.
    """
    # Imported here: a build with nothing to do must not wait for it.
    from pybtex.database import parse_file
    from pybtex.scanner import PybtexSyntaxError

    found = {}
    for file in files:
        try:
            entries = parse_file(str(file), bib_format="bibtex").entries
        except PybtexSyntaxError as error:
            raise BookError(f"{file.name}: {error}") from None
        for key, entry in entries.items():
            fields = entry.fields
            found[key] = Reference(_authors(entry.persons.get("author", ())), fields.get("year", ""), _url(fields))
    return found


def _authors(people: Iterable[object]) -> str:
    names = [" ".join(person.last_names).strip("{}") for person in people]  # type: ignore[attr-defined]
    if len(names) > 2:
        return f"{names[0]} et al."
    return " and ".join(names)


def _url(fields: Mapping[str, str]) -> str:
    if "url" in fields:
        return str(fields["url"])
    if "doi" in fields:
        return f"https://doi.org/{fields['doi']}"
    return f"https://arxiv.org/abs/{fields['eprint']}" if "eprint" in fields else ""
