"""Sweeps that nothing happens to: what is run, in which order, where, and what is told. Faults: test_sweep_faults."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from howmany.designs import sweeps
from moelaws.cli.sweep import find_sweep
from moelaws.config import RunConfig
from moelaws.counting import count_parameters
from moelaws.runs import read_runs
from moelaws.runs.writing.append import recorded_runs
from moelaws.sweeping import executors, sweep
from moelaws.sweeping.executors import LocalWorkers, WorkersError, check_device, take_gpu
from moelaws.sweeping.progress import Progress, spoken
from moelaws.sweeping.rerun import rerun
from moelaws.sweeping.sweep import SweepError, SweepRun, pin, run_sweep, train_row
from moelaws.text.corpus import PACKAGES_SHA256, CorpusError
from moelaws.training.recipe import batch_sequences, language_model, language_recipe, learning_rate, tiny_model
from moelaws.training.record import run_of
from repository import ROOT
from small_sweep import RUNS, Inline, imported, rows, tiny_sweep, undisturbed


def test_worker_processes_give_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    assert run_sweep(tiny_sweep(), path, workers=2) == RUNS
    assert rows(path) == undisturbed()


def test_what_is_recorded_is_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    runs = tiny_sweep()
    assert recorded_runs(path) == set()
    assert run_sweep(runs, path, limit=2, executor=Inline()) == 2
    first = path.read_text()
    assert len(recorded_runs(path)) == 2
    assert run_sweep(runs + runs, path, executor=Inline()) == RUNS - 2
    assert path.read_text().startswith(first)
    assert rows(path) == undisturbed()
    assert recorded_runs(path) == set(undisturbed())
    assert run_sweep(runs, path, executor=Inline()) == 0


def test_the_longest_runs_come_first_and_progress_is_told(tmp_path: Path) -> None:
    executor = Inline()
    seen: list[tuple[int, float, float]] = []
    run_sweep(
        tiny_sweep(runs=3), tmp_path / "runs.csv", executor=executor,
        on_row=lambda _, progress: seen.append((progress.runs, progress.flops, progress.seconds_left)),
    )  # fmt: skip
    flops = [item.train_flops for item in executor.submitted]
    assert flops == sorted(flops, reverse=True)
    assert [runs for runs, _, _ in seen] == [1, 2, 3]
    assert flops[-1] <= seen[0][1] < seen[1][1] < seen[2][1] == sum(flops)
    assert seen[-1][2] == 0


def test_the_rest_is_foretold_from_flops_and_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    progress = Progress(total_runs=4, total_flops=100.0, workers=2)
    assert progress.seconds_left == float("inf")
    now = 1010.0  # after 10 s: one run of 40 is done, the other worker is in the middle of another run of 40
    progress.count(flops=40.0, seconds=10.0)
    assert progress.rate == 4.0
    assert progress.seconds_left == pytest.approx(100 / 8 - 10)
    now = 1010.5
    assert progress.seconds_left == pytest.approx(100 / 8 - 10.5)
    progress.count(40.0, 10.5)
    progress.count(10.0, 2.5)
    progress.count(10.0, 2.5)
    assert progress.seconds_left == 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(7.4, "7 s"), (600, "10 min"), (3 * 3600, "3.0 h"), (86400 * 4, "4.0 days")]
)
def test_durations_are_spoken(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_a_failing_run_does_not_take_the_others_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tiny_sweep()[2].run.train.seed

    def sometimes(item: SweepRun, device: str) -> dict:
        if item.run.train.seed == bad:
            raise MemoryError("not enough")
        return train_row(item, device)

    monkeypatch.setattr(sweep, "train_row", sometimes)
    path = tmp_path / "runs.csv"
    events: list[str] = []
    with pytest.raises(
        SweepError, match=r"1 run ended in an error, the first: run [0-9a-f]{16}: MemoryError: not enough"
    ):
        run_sweep(tiny_sweep(), path, executor=Inline(), on_event=events.append)
    assert [event.partition(": ")[2] for event in events] == [
        "MemoryError: not enough; the sweep goes on without it",
    ]
    assert len(rows(path)) == RUNS - 1
    monkeypatch.undo()
    assert run_sweep(tiny_sweep(), path, executor=Inline()) == 1  # the failed run is tried again
    assert rows(path) == undisturbed()


def test_a_row_of_another_run_stops_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "train_row", lambda item, device: train_row(item, device) | {"run_id": "0" * 16})
    with pytest.raises(WorkersError, match="a worker made row 0000000000000000: it has another version of the code"):
        run_sweep(tiny_sweep(), tmp_path / "runs.csv", executor=Inline())
    assert not (tmp_path / "runs.csv").exists()


def test_a_table_that_changes_its_device_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.csv"
    events: list[str] = []
    run_sweep(tiny_sweep(), path, limit=2, executor=Inline(), on_event=events.append)
    assert events == []
    monkeypatch.setattr(sweep, "train_row", lambda item, device: train_row(item, device) | {"device": "Some GPU"})
    run_sweep(tiny_sweep(), path, executor=Inline(), on_event=events.append)
    assert len(events) == 1
    assert "runs.csv has runs made on cpu with torch" in events[0]
    assert "from now on they are made on Some GPU with torch" in events[0]


def test_a_sweep_on_a_missing_text_runs_nothing(tmp_path: Path) -> None:
    item = tiny_sweep(runs=1)[0]
    astray = replace(item, run=replace(item.run, corpus=str(tmp_path / "absent.txt")))
    with pytest.raises(CorpusError, match=r"absent\.txt: no such file"):
        run_sweep([astray], tmp_path / "runs.csv")
    assert not (tmp_path / "runs.csv").exists()


def test_a_text_is_pinned_by_content_not_by_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ids = []
    for name, text in (("a", "one two three four. "), ("b", "one two three four. "), ("a", "five six seven. ")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "own.txt").write_text("\n".join(text * 20 for _ in range(200)))
        item = tiny_sweep(runs=1)[0]
        model = replace(item.run.model, vocab_size=262)
        ((run_id, found),) = pin([replace(item, run=RunConfig(model, item.run.train, f"{name}/own.txt"))]).items()
        assert found.run.corpus == str(tmp_path / name / "own.txt")  # workers may have another folder
        assert train_row(found, "cpu")["run_id"] == run_id
        ids.append(run_id)
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]  # a changed text is another text, also in a process that has read the first


def test_missing_packages_are_named_with_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = executors.importlib.util.find_spec
    monkeypatch.setattr(executors.importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    with pytest.raises(WorkersError, match=r"torch is not installed; training needs pip install 'moelaws\[train\]'"):
        run_sweep(tiny_sweep(), tmp_path / "runs.csv")


def test_several_gpus_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for count in (0, 1):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        take_gpu(1, "auto")
    assert taken == []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    for number in range(4):
        take_gpu(number, "cuda")
    take_gpu(2, "cuda:1")
    take_gpu(2, "cpu")
    assert taken == [0, 1, 2, 0]
    check_device("cuda:2")
    with pytest.raises(WorkersError, match="device 'cuda:3': PyTorch sees 3 CUDA devices on this machine"):
        check_device("cuda:3")
    with pytest.raises(WorkersError, match="device 'gpu': expected auto, cpu, cuda, or one GPU"):
        check_device("gpu")


def test_workers_make_one_call_each_at_a_time_in_the_order_given() -> None:
    with LocalWorkers(2, device="cpu") as workers:
        calls = [workers.submit(divmod, n, 3) for n in range(20)]
        assert [call.result() for call in calls] == [divmod(n, 3) for n in range(20)]
        with pytest.raises(ZeroDivisionError):
            workers.submit(divmod, 1, 0).result()


def test_a_worker_that_trains_does_not_import_torchs_compiler() -> None:
    """Which takes longer than a tiny run."""
    with LocalWorkers(1, device="cpu") as workers:
        workers.submit(train_row, tiny_sweep(runs=1)[0], "cpu").result()
        assert workers.submit(imported, "torch.optim").result()
        assert not workers.submit(imported, "torch._dynamo").result()


RECORDED = ROOT / "data" / "runs"


def _pinned(sweep: list[SweepRun]) -> dict[str, SweepRun]:
    """The runs of a sweep by their ids; program text takes a minute to tokenize and is known by its fingerprint."""
    if any(item.run.corpus != "packages" for item in sweep):
        return pin(sweep)
    runs = [replace(item.run, corpus_sha256=PACKAGES_SHA256) for item in sweep]
    return {run.run_id: replace(item, run=run) for run, item in zip(runs, sweep, strict=True)}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.stem, marks=[pytest.mark.validate] if path.stem == "repeats" else [])
        for path in sorted(RECORDED.glob("*.csv"))
    ],
)
def test_a_recorded_table_holds_runs_of_the_sweep_of_its_name(name: str) -> None:
    recorded, wanted = read_runs(RECORDED / f"{name}.csv"), _pinned(find_sweep(name)())
    assert set(recorded["run_id"]) <= set(wanted)  # a sweep that goes on for days is recorded as it grows
    for _, row in recorded.iterrows():
        assert run_of(dict(row)).run_id == row["run_id"]
        assert row["train_flops"] == wanted[row["run_id"]].train_flops
        if not math.isnan(row["budget"]):
            assert row["train_flops"] == pytest.approx(row["budget"], rel=0.02)
        assert row["epochs"] <= (16 if name == "repeats" else 2)


@pytest.mark.parametrize("name", ["synthetic", pytest.param("isoflop", marks=pytest.mark.validate)])
def test_recorded_runs_can_be_run_again(name: str) -> None:
    """Bit-equal where machine and versions are the recorded ones, else within three seed standard deviations."""
    recorded = read_runs(RECORDED / f"{name}.csv")
    for item in rerun(recorded.nsmallest(2, "train_flops"), recorded, device="cpu"):
        assert item.agrees if item.differs else item.equal


def test_finer_experts_cost_and_weigh_what_the_studys_do() -> None:
    """K = G = 2 and 4 beside K = G = 1: equal N, N_a and S but for the routers, equal data."""
    plain = {(r.run.model.d_model, r.run.model.sparsity): r for r in sweeps.isoflop_3e11() if r.run.train.seed == 0}
    seen = set()
    for item in sweeps.granularity():
        model, base = item.run.model, plain[item.run.model.d_model, item.run.model.sparsity]
        seen.add((model.top_k, model.granularity, model.sparsity))
        assert item.run.train.batch_sequences == base.run.train.batch_sequences
        assert item.run.corpus == base.run.corpus
        if model.top_k == model.granularity:
            counts = [count_parameters(which) for which in (model, base.run.model)]
            routers = model.n_layers * model.d_model * (model.n_experts - base.run.model.n_experts)
            assert counts[0].total - counts[1].total == routers
    assert len(seen) == 16


def test_runs_of_the_experts_table_are_paired() -> None:
    """Runs of one width, number of tokens and seed read the same batches; tokens span a factor of eight."""
    batches: dict[tuple[int, int, int], set[int]] = {}
    for item in sweeps.experts():
        model, recipe = item.run.model, item.run.train
        batches.setdefault((model.d_model, recipe.tokens, recipe.seed), set()).add(recipe.batch_sequences)
        assert model.top_k == (2 if model.n_experts > 1 else 1)
        assert model.moe_every == 2
    assert all(len(found) == 1 for found in batches.values())
    tokens = [tokens for _, tokens, _ in batches]
    assert max(tokens) == 8 * min(tokens)


def test_spot_checks_change_one_setting_of_a_recorded_design() -> None:
    """Each differs from a run of a study in the learning rate or in the batch alone, by a factor of two."""
    studies = [*sweeps.isoflop(), *sweeps.synthetic()]
    bases = {(item.run.model, item.run.corpus, item.budget, item.run.train.seed): item.run.train for item in studies}
    points = set()
    for item in sweeps.spot_checks():
        base = bases[item.run.model, item.run.corpus, item.budget, item.run.train.seed]
        points.add((item.run.model, item.budget))
        changed = {name for name, value in item.run.train.to_dict().items() if value != base.to_dict()[name]}
        assert len(changed) == 1
        assert changed <= {"learning_rate", "batch_sequences"}
        (name,) = changed
        factor = getattr(item.run.train, name) / getattr(base, name)  # half of five sequences are two
        assert 0.4 <= factor <= 0.5 or factor == 2
    assert len(points) == 8


def test_the_languages_recipe() -> None:
    for budget, steps in ((1.2e10, 800), (9.7e11, 2500)):
        model = language_model(40, 16)
        train = language_recipe(model, budget)
        found = train.tokens / (train.batch_sequences * model.context)
        assert 0.3 * steps < found < 3 * steps
        assert train.learning_rate == learning_rate(16, found)
    assert model.token_shift
    assert model.n_layers == 1


def test_the_recipe_follows_steps_experts_and_budget() -> None:
    assert learning_rate(1, 1000) == pytest.approx(2**0.3 * learning_rate(1, 2000))
    assert learning_rate(1, 1000) > learning_rate(4, 1000) > learning_rate(8, 1000) == learning_rate(64, 1000)
    assert batch_sequences(1e12) == 2 * batch_sequences(3e11)
    for width in (16, 24, 40, 64, 96):
        model = tiny_model(width, 8)
        assert model.d_ff == 4 * width
        assert 12 <= model.head_dim <= 20
