"""The recorded tables as one archive that can be deposited: ``make dataset``.

CSV and Parquet, metadata for Frictionless, Croissant and Zenodo, the data card, licence and citation, and sums.
The same tables make the same bytes.
"""

import json
import tempfile
import zipfile
from pathlib import Path

import pandas as pd

from moelaws.datasets.descriptions import LICENCE, TITLE, Recorded, croissant, data_package, sha256, words_of, zenodo
from moelaws.datasets.recorded_tables import DatasetError, load, names, place
from moelaws.document import plain
from moelaws.files import write_whole

_ROOT = Path(__file__).parents[3]
_EPOCH = (1980, 1, 1, 0, 0, 0)
_NAME = "moelaws-runs"


def make_archive(out: Path, root: Path = _ROOT) -> Path:
    """Write the archive.

    Args:
        out: a ``.zip`` file; one of such an archive is replaced whole.
        root: the clone, whose ``data/`` has the card and the licence.

    Returns:
        The file.

    Raises:
        DatasetError: no clone, another suffix, a file that is no such archive, or no pyarrow.
        OSError: the place cannot be written to.
    """
    if out.suffix != ".zip":
        raise DatasetError(f"{out.name}: expected a name that ends in .zip")
    if not (root / "data" / "CARD.md").is_file():
        raise DatasetError("the archive is made in a clone of the repository, which has the data card")
    if out.exists() and not _is_ours(out):
        raise DatasetError(f"{out}: expected an archive of recorded tables to replace, found something else")
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at) / _NAME
        build(folder, root)
        packed = Path(at) / "packed.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(each for each in folder.rglob("*") if each.is_file()):
                info = zipfile.ZipInfo(path.relative_to(folder.parent).as_posix(), _EPOCH)
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(info, path.read_bytes())
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, packed.read_bytes())
    return out


def _is_ours(path: Path) -> bool:
    """Whether a file is an archive that was made here, of whatever tables."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
    return f"{_NAME}/datapackage.json" in names and all(name.startswith(f"{_NAME}/") for name in names)


def build(folder: Path, root: Path = _ROOT) -> None:
    """Lay the archive out in a folder that is not there yet."""
    tables = folder / "tables"
    tables.mkdir(parents=True)
    words = words_of((root / "data" / "README.md").read_text(encoding="utf-8"))
    recorded, days = [], []
    for name in names():
        runs = load(name)
        csv, parquet = tables / f"{name}.csv", tables / f"{name}.parquet"
        csv.write_bytes(place(name).read_bytes())
        _to_parquet(runs, parquet)
        recorded.append(Recorded(name, csv, parquet, tuple(map(str, runs.columns)), words.get(name, name)))
        days.append(str(runs["finished_at"].dropna().max())[:10])
    published = max(days)
    for file, content in (
        ("datapackage.json", data_package(recorded, published)),
        ("croissant.json", croissant(recorded, published)),
        (".zenodo.json", zenodo(published)),
    ):
        (folder / file).write_text(json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_bytes((root / "data" / "CARD.md").read_bytes())
    (folder / "LICENSE").write_bytes((root / "data" / "LICENSE").read_bytes())
    (folder / "CITATION.cff").write_text(_citation(root), encoding="utf-8")
    sums = [
        f"{sha256(each)}  {each.relative_to(folder).as_posix()}" for each in sorted(folder.rglob("*")) if each.is_file()
    ]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="utf-8")


def _to_parquet(runs: pd.DataFrame, path: Path) -> None:
    try:
        runs.to_parquet(path, index=False)
    except ImportError:
        raise DatasetError("Parquet needs pyarrow: pip install 'moelaws[parquet]'") from None


def _citation(root: Path) -> str:
    """The citation of the repository, as one of its data."""
    text = (root / "CITATION.cff").read_text(encoding="utf-8")
    changed = {"title:": f'title: "{TITLE}"', "type:": "type: dataset", "license:": f"license: {LICENCE}"}
    lines = []
    for line in text.splitlines():
        key = next((key for key in changed if line.startswith(key)), None)
        lines.append(line if key is None else changed[key])
    return "\n".join(lines) + "\n"
