"""Which pages Sphinx reads again: an extension that looks at contents, where Sphinx looks at times.

A switched branch brings old times; and a page of documented names shows signatures, types and values that other
modules of the package define, of which Sphinx knows nothing.
"""

from pathlib import Path
from typing import Any

from bookbuild.inputs.states import digest_files, state_of

STATES = "page_states"
"""Attribute of Sphinx's environment: page -> file or package that went into it -> its state when it was read."""


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the extension."""
    app.connect("autodoc-process-docstring", _note_package)
    app.connect("doctree-read", _note_files)
    app.connect("env-purge-doc", _forget)
    app.connect("env-get-outdated", _outdated)
    app.connect("env-before-read-docs", _read_alone)
    app.connect("env-updated", _write_together)
    app.connect("env-updated", _drop_pictures)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False, "parallel_write_safe": True}


def _states(env: Any) -> dict[str, dict[str, str]]:
    if not hasattr(env, STATES):
        setattr(env, STATES, {})
    states: dict[str, dict[str, str]] = getattr(env, STATES)
    return states


def _note_package(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """The package of a documented name, of which any module may have a part in what is shown."""
    import sys

    for folder in getattr(sys.modules.get(name.partition(".")[0]), "__path__", ()):
        states = _states(app.env).setdefault(app.env.docname, {})
        if folder not in states:
            states[folder] = _package_state(Path(folder))


def _note_files(app: Any, page: Any) -> None:
    """The text of a page, and what it includes."""
    env = app.env
    files = [env.doc2path(env.docname), *(str(Path(app.srcdir, name)) for name in env.dependencies[env.docname])]
    _states(env).setdefault(env.docname, {}).update({name: state_of(Path(name)) for name in files})


def _forget(app: Any, env: Any, name: str) -> None:
    _states(env).pop(name, None)


def _outdated(app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    known: dict[str, str] = {}

    def now(name: str) -> str:
        if name not in known:
            path = Path(name)
            known[name] = _package_state(path) if path.is_dir() else state_of(path)
        return known[name]

    return [page for page, states in _states(env).items() if any(now(name) != state for name, state in states.items())]


def _package_state(folder: Path) -> str:
    return digest_files(folder, sorted(folder.rglob("*.py")) + sorted(folder.rglob("*.pyi")))


# Not every extension that the book needs can read in several processes, and Sphinx warns where one cannot. All of them
# can write.
def _read_alone(app: Any, env: Any, names: list[str]) -> None:
    app.write_jobs, app.parallel = app.parallel, 1


def _write_together(app: Any, env: Any) -> None:
    app.parallel = app.write_jobs


def _drop_pictures(app: Any, env: Any) -> None:
    """Drop the pictures that notebooks showed before: a folder that is kept would grow with each build."""
    shown = {Path(app.srcdir, name).resolve() for name in env.images}
    for picture in Path(app.outdir).with_name("jupyter_execute").glob("*.png"):
        if picture.resolve() not in shown:
            picture.unlink()
