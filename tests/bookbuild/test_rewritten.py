"""What a build notes of its pages is a help: damaged, it counts as none."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest

from bookbuild.site.rewritten import WRITTEN, _noted

WHOLE = pickle.dumps({"shared": "abc", "words": {}})


@pytest.mark.parametrize("damaged", [b"", b"{}", WHOLE[:-3], pickle.dumps([]), pickle.dumps({"shared": "abc"})])
def test_a_damaged_note_counts_as_none_and_is_gone(tmp_path: Path, damaged: bytes) -> None:
    note = tmp_path / WRITTEN
    note.write_bytes(damaged)
    assert _noted(SimpleNamespace(doctreedir=tmp_path)) == {"shared": None}
    assert not note.exists()


def test_a_whole_note_is_read_once(tmp_path: Path) -> None:
    (tmp_path / WRITTEN).write_bytes(WHOLE)
    assert _noted(SimpleNamespace(doctreedir=tmp_path))["shared"] == "abc"
    assert _noted(SimpleNamespace(doctreedir=tmp_path)) == {"shared": None}
