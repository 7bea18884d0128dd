"""The small book of these tests, copied to be changed and built."""

import shutil
from pathlib import Path

from bookbuild.site.assets import vega_bundle
from repository import ROOT, TESTS


def copy_small_book(folder: Path) -> Path:
    """Write the small book of these tests, with the settings and styles of the real one."""
    shutil.copytree(TESTS / "small_book", folder, dirs_exist_ok=True)
    shutil.copy(ROOT / "_config.yml", folder)
    shutil.copytree(ROOT / "_static", folder / "_static")
    for name in ("lib", "data"):
        (folder / name).mkdir()
    (folder / "lib" / "law.py").write_text("exponent = 0.5\n")
    scripts = folder / "_build" / "assets"
    scripts.mkdir(parents=True)
    shutil.copy(vega_bundle(ROOT / "_build" / "assets"), scripts)  # made once for all, which takes seconds
    return folder
