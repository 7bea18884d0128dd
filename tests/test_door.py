"""The front door: the public names, quick, typed, documented, and without torch until a name needs it."""

import ast
import importlib
import re
import subprocess
import sys
import textwrap
from inspect import isfunction
from pathlib import Path
from types import ModuleType

import pytest

import moelaws
from repository import ROOT

PACKAGE = Path(moelaws.__file__).parent
STUBS = sorted(PACKAGE.rglob("*.pyi"))
NEEDS_TORCH = {
    "blend", "compress", "DuoConfig", "DuoTransformer", "GateRecipe", "generate", "learn_gates", "learn_routers",
    "load_checkpoint", "load_corpus", "measure", "merge", "probe_runs", "prune", "recipe", "rerun", "route_losses",
    "RouterRecipe", "run_sweep", "save_checkpoint", "Superposition", "SweepRun", "tiny_model", "train", "Transformer",
    "upcycle", "Widths",
}  # fmt: skip


def _listed(stub: Path) -> list[tuple[str, str]]:
    """Module and name of every line of a stub."""
    return [
        (node.module or "", alias.name)
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: str(stub.relative_to(PACKAGE)))
def test_every_name_is_there_once(stub: Path) -> None:
    room = importlib.import_module(".".join(("moelaws", *stub.parent.relative_to(PACKAGE).parts)))
    names = [name for _, name in _listed(stub)]
    assert len(set(names)) == len(names)
    assert sorted(names) == sorted(room.__all__)
    for name in names:
        assert getattr(room, name) is not None
        assert name in dir(room)
    with pytest.raises(AttributeError, match="no_such_name"):
        room.no_such_name  # noqa: B018


@pytest.mark.parametrize(("module", "name"), _listed(PACKAGE / "__init__.pyi"))
def test_every_public_name_is_explained(module: str, name: str) -> None:
    value = getattr(moelaws, name)
    if not isinstance(value, dict):
        assert (value.__doc__ or "").strip(), f"{name} has no docstring"


def test_each_public_function_has_an_example_that_is_run() -> None:
    # Those three start processes that train for a while; the pages show their commands, which tests run.
    functions = {name for _, name in _listed(PACKAGE / "__init__.pyi") if isfunction(getattr(moelaws, name))}
    bare = {name for name in functions if ">>> " not in getattr(moelaws, name).__doc__}
    assert bare == {"probe_runs", "rerun", "run_sweep"}


def test_the_page_of_public_names_has_them_all() -> None:
    text = (ROOT / "api.md").read_text()
    documented = re.findall(r"auto\w+:: moelaws\.(\w+)", text)
    listed = {name for _, name in _listed(PACKAGE / "__init__.pyi")}
    rooms = {name for name in listed if isinstance(getattr(moelaws, name), ModuleType)}
    assert len(documented) == len(set(documented))
    assert set(documented) == listed - rooms - {"LAWS"}


def test_the_import_takes_no_time_and_no_torch() -> None:
    code = """
        import resource, sys
        before = resource.getrusage(resource.RUSAGE_SELF)
        import moelaws
        after = resource.getrusage(resource.RUSAGE_SELF)
        heavy = {"torch", "pandas", "scipy", "altair", "numpy"} & set(sys.modules)
        print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, sorted(heavy))
    """
    found = [_run(textwrap.dedent(code)).split(maxsplit=1) for _ in range(3)]
    assert {heavy.strip() for _, heavy in found} == {"[]"}
    assert min(float(seconds) for seconds, _ in found) < 0.15  # of the processor, in the best of three


def test_torch_comes_with_the_names_that_need_it() -> None:
    names = {name for _, name in _listed(PACKAGE / "__init__.pyi")}
    assert names >= NEEDS_TORCH
    code = f"""
import sys, moelaws
for name in {sorted(names - NEEDS_TORCH)!r}:
    getattr(moelaws, name)
    assert "torch" not in sys.modules, name
moelaws.train
assert "torch" in sys.modules
"""
    _run(code)


def test_the_command_is_there_where_its_script_is_on_no_path() -> None:
    done = subprocess.run([sys.executable, "-m", "moelaws", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"moelaws {moelaws.__version__}\n"
