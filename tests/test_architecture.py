"""ARCHITECTURE.md says what is there: each room, each module under no roof, and arrows that rooms may have."""

import re

from repository import ROOT
from test_layering import ALLOWED, ANALYSIS

PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
LIB = ROOT / "lib"
SECTIONS = {"moelaws": "Rooms of the library", "howmany": "Rooms of the study", "bookbuild": "Rooms of the builder"}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_each_room_is_named_and_each_name_is_a_room() -> None:
    for package, title in SECTIONS.items():
        named = re.findall(r"^\| `([a-z_/]+)/` \|", section(title), flags=re.MULTILINE)
        rooms = {path.parent.relative_to(LIB / package).as_posix() for path in (LIB / package).rglob("*.py")} - {"."}
        assert sorted(named) == sorted(rooms), title


def test_each_module_under_no_roof_is_named() -> None:
    loose = {path.stem for path in (LIB / "moelaws").glob("*.py")} - {"__init__"}
    named = set(re.findall(r"`([a-z_]+)`", section("Rooms of the library").rpartition("Under no roof")[2]))
    assert named == loose


def test_each_arrow_is_one_that_a_room_has() -> None:
    arrows = re.findall(r"^  (\w+) --> (\w+)$", section("Arrows"), flags=re.MULTILINE)
    assert [arrow for arrow in arrows if arrow[1] not in ALLOWED[arrow[0]]] == []
    rooms = {path.parent.name for path in (LIB / "moelaws").glob("*/__init__.py")}
    assert rooms - {room for arrow in arrows for room in arrow} == set()


def test_the_wall_is_the_one_that_is_tested() -> None:
    assert set(re.findall(r"`([a-z_]+)`", section("The wall").split(" import no torch")[0])) == set(ANALYSIS)


def test_each_file_that_is_named_is_there() -> None:
    for name in re.findall(r"`([\w/]+\.(?:py|pyi|md))`", PAGE):
        places = (ROOT, LIB, LIB / "moelaws", LIB / "howmany", ROOT / "benchmarks")
        assert any((place / name).is_file() for place in places), name
