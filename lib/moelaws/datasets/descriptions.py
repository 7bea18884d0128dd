"""What is said of the recorded tables to machines: a data package, Croissant metadata, a record for Zenodo.

All of it is made from the schema of the columns, the tables' own words in ``data/README.md`` and the files themselves.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moelaws import __version__
from moelaws.runs.schema import COLUMNS, Column

TITLE = "How many experts? Recorded training runs of tiny mixture-of-experts language models"
LICENCE = "CC-BY-4.0"
_LICENCE_URL = "https://creativecommons.org/licenses/by/4.0/"
_HOME = "https://github.com/moelaws/moelaws"
_AUTHORS = "The moelaws authors"
_KEYWORDS = ["mixture of experts", "scaling laws", "language models", "sparsity", "compute-optimal training"]
_ABOUT = (
    "Training runs of small transformer language models, dense and with up to 512 experts, at equal training FLOPs:"
    " one row a run, with its whole configuration, loss, seed, text, machine and versions, so that each can be trained"
    " again."
)


@dataclass(frozen=True)
class Recorded:
    """A table of the archive.

    Attributes:
        name: its name.
        csv, parquet: its two files.
        columns: its header.
        words: what it is, a sentence or two.
    """

    name: str
    csv: Path
    parquet: Path
    columns: tuple[str, ...]
    words: str


def words_of(readme: str) -> dict[str, str]:
    """Table -> what it is, from the paragraphs of ``data/README.md``."""
    found = re.findall(r"^### `runs/(\w+)\.csv`\n\n- \*\*What\*\*: (.+)$", readme, flags=re.MULTILINE)
    return {name: text.replace("`", "") for name, text in found}


def data_package(tables: Sequence[Recorded], published: str) -> dict[str, Any]:
    """Frictionless metadata: ``datapackage.json``.

    Args:
        tables: of the archive.
        published: day of the last run, ISO 8601.
    """
    resources: list[dict[str, Any]] = []
    for table in tables:
        fields = [_field(COLUMNS[name]) if name in COLUMNS else {"name": name, "type": "any"} for name in table.columns]
        resources.append(
            _file(table.csv, table.name)
            | {
                "profile": "tabular-data-resource", "type": "table", "format": "csv", "mediatype": "text/csv",
                "encoding": "utf-8", "description": table.words,
                "schema": {"fields": fields, "missingValues": [""], "primaryKey": ["run_id"]},
            }
        )  # fmt: skip
        resources.append(
            _file(table.parquet, f"{table.name}-parquet")
            | {
                "type": "file",
                "mediatype": "application/vnd.apache.parquet",
                "description": f"{table.name}, as Parquet",
            }
        )
    return {
        "profile": "data-package",
        "name": "moelaws-runs",
        "title": TITLE,
        "description": _ABOUT,
        "version": __version__,
        "created": f"{published}T00:00:00Z",
        "homepage": _HOME,
        "keywords": _KEYWORDS,
        "licenses": [{"name": LICENCE, "path": _LICENCE_URL, "title": "Creative Commons Attribution 4.0"}],
        "contributors": [{"title": _AUTHORS, "role": "author"}],
        "resources": resources,
    }


def croissant(tables: Sequence[Recorded], published: str) -> dict[str, Any]:
    """Croissant metadata, version 1.0: ``croissant.json``.

    Args:
        tables: of the archive.
        published: day of the last run, ISO 8601.
    """
    files, records = [], []
    for table in tables:
        for path, form in ((table.csv, "text/csv"), (table.parquet, "application/x-parquet")):
            files.append(
                {
                    "@type": "cr:FileObject", "@id": path.name, "name": path.name, "contentUrl": _inside(path),
                    "encodingFormat": form, "sha256": sha256(path), "contentSize": f"{path.stat().st_size} B",
                }
            )  # fmt: skip
        fields = [
            {
                "@type": "cr:Field", "@id": f"{table.name}/{name}", "name": name,
                "description": _meaning(COLUMNS[name]) if name in COLUMNS else name,
                "dataType": _CROISSANT[COLUMNS[name].kind if name in COLUMNS else "text"],
                "source": {"fileObject": {"@id": table.csv.name}, "extract": {"column": name}},
            }
            for name in table.columns
        ]  # fmt: skip
        records.append(
            {
                "@type": "cr:RecordSet", "@id": table.name, "name": table.name, "description": table.words,
                "key": {"@id": f"{table.name}/run_id"}, "field": fields,
            }
        )  # fmt: skip
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": "moelaws-runs",
        "description": f"{TITLE}. {_ABOUT}",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "citeAs": f"{_AUTHORS}. {TITLE}, version {__version__}. {_HOME}",
        "license": _LICENCE_URL,
        "url": _HOME,
        "version": __version__,
        "datePublished": published,
        "keywords": _KEYWORDS,
        "creator": {"@type": "sc:Organization", "name": _AUTHORS},
        "distribution": files,
        "recordSet": records,
    }


def zenodo(published: str) -> dict[str, Any]:
    """The record that Zenodo fills its form from: ``.zenodo.json``."""
    return {
        "title": TITLE,
        "upload_type": "dataset",
        "description": _ABOUT,
        "creators": [{"name": _AUTHORS}],
        "license": "cc-by-4.0",
        "access_right": "open",
        "version": __version__,
        "publication_date": published,
        "keywords": _KEYWORDS,
        "related_identifiers": [{"identifier": _HOME, "relation": "isSupplementTo", "resource_type": "software"}],
    }


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inside(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _file(path: Path, name: str) -> dict[str, Any]:
    return {"name": name, "path": _inside(path), "bytes": path.stat().st_size, "hash": f"sha256:{sha256(path)}"}


def _meaning(column: Column) -> str:
    return f"{column.meaning} ({column.unit})" if column.unit else column.meaning


def _field(column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {"name": column.name, "type": _FRICTIONLESS[column.kind], "description": _meaning(column)}
    if column.minimum is not None and not column.exclusive:
        found["constraints"] = {"minimum": column.minimum if column.kind == "number" else int(column.minimum)}
    return found


_FRICTIONLESS: Mapping[str, str] = {"text": "string", "integer": "integer", "number": "number"}
_CROISSANT: Mapping[str, str] = {"text": "sc:Text", "integer": "sc:Integer", "number": "sc:Float"}

_CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/", "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract",
    "field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet",
    "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath",
    "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "equivalentProperty": "cr:equivalentProperty", "samplingRate": "cr:samplingRate",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform",
}  # fmt: skip
"""Names that Croissant 1.0 fixes."""
