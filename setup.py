"""The one step of the build that pyproject.toml has no word for: recorded tables are packed into the wheel."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

TABLES = "data/runs/*.csv"
STEPS = "data/timings/training_steps.csv"


class WithTables(build_py):
    """The library, and beside it the tables that ``moelaws.datasets`` and ``moelaws.pacing`` load."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # a clone has them where they are recorded
        place = Path(self.build_lib, "moelaws", "datasets", "tables")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(__file__).parent / STEPS, Path(self.build_lib, "moelaws", "pacing", Path(STEPS).name))
        for table in sorted(Path(__file__).parent.glob(TABLES)):
            shutil.copyfile(table, place / table.name)


setup(cmdclass={"build_py": WithTables})
