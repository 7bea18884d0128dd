"""From a CSV and a bare Python to a page: a virtual environment, the light package, two commands; no torch.

``python benchmarks/cold_path.py --out benchmarks/results/cold_path.json`` builds the wheel from this clone (not timed),
makes an empty environment, and times what a stranger types: ``pip install``, ``moelaws runs TABLE``, ``moelaws report
TABLE --out PAGE``, for each table of ``stranger_tables.py`` and for the book's own of 332 runs. pip downloads what the
package needs, so the first time is the network's as well. ``--pages FOLDER`` keeps the pages.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

from stranger_tables import many_runs, messy, no_budgets, twelve

ROOT = Path(__file__).parents[1]
BUILD = "from setuptools import build_meta; import os, sys; os.chdir(sys.argv[1]); build_meta.build_wheel(sys.argv[2])"


def tables(place: Path) -> dict[str, Path]:
    """The tables, as files."""
    found = {"messy": place / "messy.csv"}
    found["messy"].write_text(messy(), encoding="utf-8", newline="")
    for name, table in (("many_runs", many_runs()), ("twelve", twelve()), ("no_budgets", no_budgets())):
        found[name] = place / f"{name}.csv"
        table.to_csv(found[name], index=False)
    return found | {"isoflop": ROOT / "data" / "runs" / "isoflop.csv"}


def timed(command: list[str], place: Path) -> dict[str, Any]:
    """Run a command; what it took and said."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, cwd=place, env=bare, capture_output=True, text=True, check=False)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return {"seconds": round(time.perf_counter() - start, 1), "cpu_seconds": round(cpu, 1), "said": done.stdout}


def main() -> int:
    """Install, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pages", type=Path, help="keep the pages here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        subprocess.run([sys.executable, "-c", BUILD, ROOT, place], check=True, capture_output=True)
        wheel = next(place.glob("*.whl"))
        venv.create(place / "bare", with_pip=True)
        scripts = place / "bare" / ("Scripts" if os.name == "nt" else "bin")
        install = [
            str(scripts / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            str(wheel),
        ]
        record: dict[str, Any] = {"load": os.getloadavg()[0], "wheel_mb": round(wheel.stat().st_size / 1e6, 2)}
        installed = timed(install, place)
        record["pip install"] = {name: installed[name] for name in ("seconds", "cpu_seconds")}
        listed = timed([*install[:3], "list", "--format=json", "--disable-pip-version-check"], place)["said"]
        record["packages"] = {each["name"]: each["version"] for each in json.loads(listed)}
        record["torch"] = "torch" in record["packages"]
        record["tables"] = {}
        for title, table in tables(place).items():
            page = (options.pages or place).resolve() / f"{title}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            runs = timed([str(scripts / "moelaws"), "runs", str(table)], place)
            report = timed([str(scripts / "moelaws"), "report", str(table), "--out", str(page)], place)
            whole = record["pip install"]["seconds"] + runs["seconds"] + report["seconds"]
            record["tables"][title] = {
                "runs_seconds": runs["seconds"], "report_seconds": report["seconds"],
                "report_cpu_seconds": report["cpu_seconds"], "page_mb": round(page.stat().st_size / 1e6, 2),
                "three_commands_seconds": round(whole, 1),
            }  # fmt: skip
            print(f"{title}: {record['tables'][title]}", flush=True)
    print(json.dumps({name: value for name, value in record.items() if name != "tables"}))
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
