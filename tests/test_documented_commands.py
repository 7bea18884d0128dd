"""Every command that the pages show: run where it is cheap, else parsed by its own parser."""

import argparse
import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import yaml

from bookbuild.command import add_actions
from bookbuild.pages.address import repository_address
from documented import PAGES, Command, blocks, commands_of, shell_commands, with_my_sweeps
from moelaws.cli import main, make_parser
from moelaws.cli.sweep import find_sweep
from moelaws.laws import law
from moelaws.parameters import assigned
from moelaws.runs import read_runs
from moelaws.runs.reading.where import rows_where
from repository import ROOT
from small_sweep import until, with_tests

COMMANDS = sorted(set(shell_commands()), key=str)

# What stands for a name of the reader's.
STANDS_FOR = {
    "TABLE": "data/runs/isoflop.csv",
    "RUNS.csv": "data/runs/isoflop.csv",
    "YOURS": "data/runs/isoflop.csv",
    "NAME": "abnar2025",
    "...": "loss=loss",
}
# Symptoms that begin like a command.
NO_COMMANDS = {("moelaws", "needs"), ("python", "-m", "moelaws.cli")}


def test_there_are_commands_on_every_page() -> None:
    assert {command.page for command in COMMANDS} == set(PAGES)
    assert len(COMMANDS) > 50


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_it_can_be_typed(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = [STANDS_FOR.get(word, word) for word in command.words]
    if command.words in NO_COMMANDS or command.words[:2] in NO_COMMANDS:
        return
    monkeypatch.chdir(tmp_path)
    with_my_sweeps(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    program, *arguments = words[2:] if words[:2] == ["python", "-m"] else words
    assert program in CHECKS, f"{command}: say in CHECKS how it is looked at"
    CHECKS[program](arguments)


def check_moelaws(arguments: list[str]) -> None:
    """The real parser, and the values behind it: laws, sweeps, tables of ours, conditions."""
    if arguments == ["--help"]:
        with pytest.raises(SystemExit, match="0"):
            main(arguments)
        return
    if len(arguments) == 1:  # the name of a command in a sentence
        assert arguments[0] in make_parser().format_help()
        return
    options = make_parser().parse_args(arguments)
    if arguments[0] == "sweep" and not options.name.endswith(".csv"):  # a table that `next` writes
        assert find_sweep(options.name)()
    if getattr(options, "law", None):
        law(options.law)
    table = getattr(options, "table", None)
    if table and str(table).startswith("data/"):
        runs = read_runs(ROOT / table)
        if options.where:
            assert rows_where(runs, options.where).any()


def check_bookbuild(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_actions(parser)
    check_profile(parser.parse_args(arguments).profile)


def check_profile(name: str) -> None:
    assert any(f"\n    {name}:" in page.read_text() for page in (ROOT / "chapters").glob("*.md")) or name == "full"


def check_make(arguments: list[str]) -> None:
    text = (ROOT / "Makefile").read_text()
    for word in arguments:
        variable, sign, value = word.partition("=")
        if not sign:
            assert re.search(rf"^{word}:", text, flags=re.MULTILINE), f"no target {word}"
            continue
        assert re.search(rf"^{variable} \?=", text, flags=re.MULTILINE), f"no variable {variable}"
        if variable == "PROFILE":
            check_profile(value)
        if variable == "PYTHON":
            assert re.fullmatch(r"python3\.\d+", value)


def check_pip(arguments: list[str]) -> None:
    assert arguments[0] == "install"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"\[(.*)\]", " ".join(arguments)):
        assert set(extra.split(",")) <= set(project["optional-dependencies"])


def check_npm(arguments: list[str]) -> None:
    """What the library itself says of where llama.cpp comes from."""
    from moelaws.decoding.foreign.llama_library import HOW

    assert f"npm {' '.join(arguments)}" in HOW


def check_dask(arguments: list[str]) -> None:
    """Dask's own parsers, of the options and of what their values stand for."""
    pytest.importorskip("distributed")
    from dask.utils import parse_bytes, parse_timedelta
    from distributed.cli import dask_scheduler, dask_worker

    role, *rest = arguments
    if role == "cuda":
        assert rest == ["worker", "tcp://10.0.0.1:8786"]  # of a package that needs a GPU
        return
    program = {"worker": dask_worker, "scheduler": dask_scheduler}[role].main
    values = program.make_context(f"dask {role}", rest).params
    for name, parse in (
        ("lifetime", parse_timedelta),
        ("lifetime_stagger", parse_timedelta),
        ("death_timeout", parse_timedelta),
    ):
        if values.get(name):
            assert parse(values[name]) > 0
    if values.get("memory_limit", "auto") not in ("auto", None):
        assert parse_bytes(values["memory_limit"]) > 0
    if role == "worker":
        assert int(values["nthreads"]) == 1, "a sweep refuses workers with more threads"


def check_papermill(arguments: list[str]) -> None:
    """papermill's own parser; the chapter is there, and has the parameters."""
    papermill = pytest.importorskip("papermill.cli").papermill
    values = papermill.make_context("papermill", arguments).params
    source = (ROOT / values["notebook_path"]).with_suffix(".md").read_text()
    (cell,) = re.findall(r":tags: \[parameters\]\n(.*?)```", source, flags=re.DOTALL)
    names = {name for name, _ in values["parameters"]}
    assert names
    assert names <= set(assigned(cell))


def check_python(arguments: list[str]) -> None:
    raise AssertionError(f"python {arguments}: no such command was meant")


def check_ipykernel(arguments: list[str]) -> None:
    """Installed, but in this folder and not in the reader's: the kernel is this very Python."""
    assert arguments[:2] == ["install", "--user"]
    line = [sys.executable, "-m", "ipykernel", "install", "--prefix", ".", *arguments[2:]]
    subprocess.run(line, check=True, capture_output=True, timeout=60)
    (kernel,) = Path("share/jupyter/kernels").glob("*/kernel.json")
    assert kernel.parent.name == "moelaws"
    assert json.loads(kernel.read_text())["argv"][0] == sys.executable


def check_sbatch(arguments: list[str]) -> None:
    (job,) = [block.text for block in blocks("bash", pages=("clusters.md",)) if "#SBATCH" in block.text]
    assert arguments == ["workers.sh"]
    assert job.startswith("#!/bin/bash\n#SBATCH")
    assert set(sbatch_options(job)) == {"ntasks", "cpus-per-task", "mem-per-cpu", "time"}


def check_kubectl(arguments: list[str]) -> None:
    (text,) = [block.text for block in blocks("yaml", pages=("clusters.md",))]
    cluster = yaml.safe_load(text)
    if arguments[0] == "port-forward":
        port = {port["name"]: port["port"] for port in cluster["spec"]["scheduler"]["service"]["ports"]}["tcp-comm"]
        assert arguments[1:] == [f"service/{cluster['metadata']['name']}-scheduler", f"{port}:{port}"]
    else:
        assert arguments in (["apply", "-f", "sweep.yaml"], ["delete", "-f", "sweep.yaml"])


def check_helm(arguments: list[str]) -> None:
    assert arguments[:3] == ["install", "--repo", "https://helm.dask.org"]
    assert arguments[3:] == ["--create-namespace", "-n", "dask-operator", "--generate-name", "dask-kubernetes-operator"]


def check_conda(arguments: list[str]) -> None:
    assert arguments[:3] == ["env", "create", "-f"]
    environment = yaml.safe_load((ROOT / arguments[3]).read_text())
    assert environment["name"] == "moelaws"
    *_, packages = environment["dependencies"]
    check_pip(["install", *packages["pip"]])


def run_elsewhere(_: list[str]) -> None:
    """A test below runs the whole block that it stands in."""


def of_the_shell(arguments: list[str]) -> None:
    assert arguments in (
        ["moelaws"], [".venv/bin/activate"], ["OMP_NUM_THREADS=1"], ["clone", repository_address(ROOT)],
    )  # fmt: skip


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "moelaws": check_moelaws, "moelaws.cli": check_moelaws, "bookbuild": check_bookbuild, "make": check_make,
    "pip": check_pip, "ipykernel": check_ipykernel, "npm": check_npm, "dask": check_dask,
    "papermill": check_papermill, "sbatch": check_sbatch, "kubectl": check_kubectl, "helm": check_helm,
    "conda": check_conda, "python": check_python, "mkdir": run_elsewhere, "cp": run_elsewhere,
    "jupytext": run_elsewhere, "cd": of_the_shell, "source": of_the_shell, "export": of_the_shell,
    "git": of_the_shell,
}  # fmt: skip


# --- Slurm and Kubernetes ----------------------------------------------------------------------------------------

# From the manual of sbatch: what a value must look like.
SBATCH = {
    "ntasks": r"\d+",
    "cpus-per-task": r"\d+",
    "gpus-per-task": r"\d+",
    "mem-per-cpu": r"\d+[KMGT]?",
    "time": r"(\d+-)?\d{1,2}:\d\d:\d\d",
}


def sbatch_options(text: str) -> dict[str, str]:
    """The options of the lines that speak to Slurm, each of a form that it takes."""
    found = dict(re.findall(r"#SBATCH --([\w-]+)=([^\s`]+)", text))
    assert len(found) == text.count("#SBATCH ")
    for name, value in found.items():
        assert re.fullmatch(SBATCH[name], value), f"#SBATCH --{name}={value}"
    return found


def seconds_of(slurm: str) -> int:
    hours, minutes, seconds = map(int, slurm.split(":"))
    return 3600 * hours + 60 * minutes + seconds


def test_workers_end_before_slurm_ends_them() -> None:
    timedelta = pytest.importorskip("dask.utils").parse_timedelta
    (job,) = [block for block in blocks("bash", pages=("clusters.md",)) if "#SBATCH" in block.text]
    (worker,) = [command.words for command in commands_of(job.page, job.text) if command.words[0] == "dask"]
    values = dict(pairwise(worker))
    ends = timedelta(values["--lifetime"]) + timedelta(values["--lifetime-stagger"])
    assert ends < seconds_of(sbatch_options(job.text)["time"]) <= ends + 900
    assert sbatch_options((ROOT / "clusters.md").read_text())["gpus-per-task"] == "1"  # in prose


def test_the_script_of_dask_jobqueue_holds_options_that_dask_takes() -> None:
    timedelta = pytest.importorskip("dask.utils").parse_timedelta
    (text,) = [block.text for block in blocks("python", pages=("clusters.md",))]
    (call,) = [
        node for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SLURMCluster"
    ]  # fmt: skip
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    check_dask(["worker", "tcp://10.0.0.1:8786", "--nthreads", "1", *given["worker_extra_args"]])
    assert given["cores"] == given["processes"]
    assert timedelta(given["worker_extra_args"][1]) < seconds_of(given["walltime"])


def test_the_containers_of_kubernetes_can_be_started() -> None:
    (text,) = [block.text for block in blocks("yaml", pages=("clusters.md",))]
    for role in ("worker", "scheduler"):
        (container,) = yaml.safe_load(text)["spec"][role]["spec"]["containers"]
        program, *arguments = container["args"]
        assert program == "dask"
        address = ["tcp://scheduler:8786"] if role == "worker" else []  # which the operator names in the environment
        check_dask([*arguments, *address])


def test_the_line_of_slurm_starts_a_worker(tmp_path: Path) -> None:
    """The case slurm_lifetime: ``3h50m`` made the worker end at once, and the sweep wait for ever."""
    pytest.importorskip("distributed")
    (job,) = [block for block in blocks("bash", pages=("clusters.md",)) if "#SBATCH" in block.text]
    (worker,) = [command.words for command in commands_of(job.page, job.text) if command.words[0] == "dask"]
    start = [sys.executable, "-m", "dask"]
    scheduler = [*start, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with (tmp_path / "log").open("wb") as log:
        options = {"cwd": tmp_path, "env": with_tests(), "stdout": log, "stderr": log}
        processes = [subprocess.Popen([*scheduler, "--scheduler-file", "sweep.json"], **options)]
        try:
            until((tmp_path / "sweep.json").exists, "a scheduler file")
            processes.append(subprocess.Popen([*start, *worker[1:]], **options))
            until(lambda: "Registered to:" in (tmp_path / "log").read_text(), "a worker")
            assert processes[1].poll() is None
        finally:
            for process in processes:
                process.kill()
                process.wait()


# --- blocks that are run -----------------------------------------------------------------------------------------


def block_with(page: str, text: str) -> str:
    (found,) = [block.text for block in blocks("bash", pages=(page,)) if text in block.text]
    return found


def test_a_reader_trains_on_a_text_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is shown, at a tenth of the budget."""
    with_my_sweeps(tmp_path)
    script = tmp_path / "my_sweeps.py"
    script.write_text(script.read_text().replace("1e10", "1e9"))
    text = (ROOT / "glossary.md").read_text() + (ROOT / "notation.md").read_text()
    (tmp_path / "my_text.txt").write_text(text * 4)
    *_, last = commands_of("running.md", block_with("running.md", "my_sweeps:own_text"))
    done = subprocess.run(
        [sys.executable, *last.words[1:]], cwd=tmp_path, env=with_tests(), capture_output=True, text=True, timeout=250,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(read_runs(tmp_path / "own_text.csv")) == 6


def test_a_reader_brings_runs_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = block_with("own_runs.md", "--map 'loss=val/loss")
    commands = [c.words for c in commands_of("own_runs.md", block) if c.words[0] == "moelaws"]
    theirs = dict(pair.split("=", 1) for pair in commands[0][commands[0].index("--map") + 1].split(","))
    runs = read_runs(ROOT / "data/runs/isoflop.csv")
    runs = runs[runs["budget"].isin(sorted(runs["budget"].unique())[:2])]
    table = pd.DataFrame()
    for ours, name in theirs.items():
        column, _, factor = name.partition("*")
        table[column] = runs[ours] / float(factor or 1)
    table["step"] = 250_000
    table.to_csv(tmp_path / "results.csv", index=False)
    monkeypatch.chdir(tmp_path)
    for _, *arguments in commands:
        assert main(arguments) == 0, arguments


def test_a_class_puts_its_runs_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = read_runs(ROOT / "data/runs/isoflop.csv")
    smallest = runs[runs["budget"] == runs["budget"].min()]
    for name, part in (("anna", smallest.head(60)), ("ben", smallest.tail(40)), ("cleo", smallest.iloc[20:50])):
        part.to_csv(tmp_path / f"{name}.csv", index=False)
    monkeypatch.chdir(tmp_path)
    for _, *arguments in [c.words for c in commands_of("teaching.md", block_with("teaching.md", "class.csv"))]:
        assert main([*arguments, *(["--bootstrap", "20"] if arguments[0] == "isoflop" else [])]) == 0


def test_what_can_be_probed_is_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    first, _ = commands_of("running.md", block_with("running.md", "moelaws probe"))
    assert main(first.words[1:]) == 0
    assert re.search(r"^\d+ runs, ", capsys.readouterr().out, flags=re.MULTILINE)


# --- what these checks are worth: the lines that stood on the pages ------------------------------------------------


def test_the_lines_that_were_wrong_would_be_found() -> None:
    pytest.importorskip("distributed")
    case = (ROOT / "tests" / "cases" / "slurm_lifetime" / "cmd.txt").read_text()
    (command,) = commands_of("clusters.md", case)
    with pytest.raises(ValueError, match="3h50"):
        check_dask([*command.words[1:]])
    with pytest.raises(AssertionError):
        check_papermill(["--cwd", "chapters", "chapters/question.ipynb", "out.ipynb", "-p", "bootstrap", "200"])
    with pytest.raises(SystemExit, match="2"):
        check_moelaws(["sweep", "isoflop_3e11", "--worker", "many"])
    with pytest.raises(AssertionError, match="no target tests"):
        check_make(["tests"])
    with pytest.raises(AssertionError, match=r"--time=4h"):
        sbatch_options("#SBATCH --time=4h\n")
