"""What is measured is what happens: experts counted by hand, clocks that a slow step moves, rows that replace rows."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from moelaws.cli import main
from moelaws.cli.served.named_model import open_model, parse_config
from moelaws.config import ConfigError, ModelConfig
from moelaws.decoding.decoder import Decoder
from moelaws.measuring import grid
from moelaws.measuring import loads as routes
from moelaws.measuring.grid import in_passes, measure_batches, measure_calibration, measure_grid
from moelaws.measuring.loads import loads_of, measure_touched, routes_of
from moelaws.measuring.measure import measure, touched_by_step
from moelaws.measuring.requests import requests_of, uniform_requests
from moelaws.measuring.rows import over_passes, record_rows, timing_row
from moelaws.measuring.subjects import random_decoder
from moelaws.models import Transformer
from moelaws.models.checkpoint import save_checkpoint
from moelaws.runs.timings import TimingError, engines, model_of, read_timings
from moelaws.serving.calibration import FEWEST, calibrate, works
from moelaws.serving.touched import even_experts, experts_of_loads
from moelaws.text.corpus import Corpus

SMALL = ModelConfig(vocab_size=96, d_model=32, n_layers=2, n_heads=2, d_ff=64, n_experts=8, top_k=2, context=64)


def _ids(batch: int, length: int) -> torch.Tensor:
    return uniform_requests(96).draw(batch, length)


def test_experts_touched_are_those_of_the_uncached_model() -> None:
    model, ids_BT = Transformer(SMALL), _ids(5, 12)
    counts = touched_by_step(Decoder(model), ids_BT, 8)
    with torch.no_grad():
        statistics = model(ids_BT)[1]
    assert counts.shape == (4, 2)
    for layer, routed in enumerate(statistics):
        ids_BTK = routed.ids_TK.view(5, 12, 2)
        for step in range(4):
            assert counts[step, layer] == len(set(ids_BTK[:, 8 + step].flatten().tolist()))


def test_a_measurement_reports_its_own_work(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = random_decoder(SMALL)
    found = measure(decoder, _ids(4, 20), 12, repeats=3, clock="processor")
    assert (found.batch, found.prompt_tokens, found.new_tokens) == (4, 12, 8)
    assert (found.prefill.n, found.decode_step.n) == (3, 24)
    for spread in (found.prefill, found.decode_step):
        assert 0 < spread.low <= spread.median <= spread.high < 1
    assert found.tokens_per_second == 4 / found.decode_step.median
    # Keys and values of 20 columns, 4 requests, 2 layers, width 32, in fp32.
    assert found.cache_bytes == 2 * 20 * 4 * 2 * 32 * 4
    assert found.peak_bytes > sum(p.nbytes for p in Transformer(SMALL).parameters())
    assert np.allclose(found.touched, touched_by_step(decoder, _ids(4, 20), 12).mean(0))

    assert measure(Transformer(SMALL), _ids(4, 14), 12, repeats=1).touched == pytest.approx(
        measure(decoder, _ids(4, 14), 12, repeats=1).touched
    )

    slow = decoder.extend

    def slower(cache, ids_BT, *others, **named):
        if ids_BT.shape[1] == 1:
            torch.linspace(0, 1, 30_000_000).sum()
        return slow(cache, ids_BT, *others, **named)

    monkeypatch.setattr(decoder, "extend", slower)
    delayed = measure(decoder, _ids(4, 14), 12, repeats=1, clock="processor")
    assert delayed.decode_step.median > 5 * found.decode_step.median


def test_uniform_routing_touches_what_the_formula_says() -> None:
    config = replace(SMALL, n_experts=32, top_k=2)
    found = measure(random_decoder(config), _ids(16, 60), 10, repeats=1, routing="uniform")
    expected = float(even_experts(32, 2, 16))
    # 100 draws with a standard deviation of about 1.7: five standard errors.
    assert np.mean(found.touched) == pytest.approx(expected, abs=0.85)
    assert found.routing == "uniform"


def test_a_dense_model_touches_its_one_network() -> None:
    decoder = random_decoder(replace(SMALL, n_experts=1, top_k=1))
    found = measure(decoder, _ids(2, 6), 4, repeats=1)
    row = timing_row(decoder, found, "random", "uniform")
    assert found.touched == ()
    assert (row["experts_touched"], row["routing"]) == (1.0, "dense")


def test_impossible_measurements_are_refused() -> None:
    decoder = random_decoder(SMALL)
    with pytest.raises(ValueError, match="prompt of 6 tokens: expected 1 to 5"):
        measure(decoder, _ids(2, 6), 6)
    with pytest.raises(ValueError, match="repeats = 0"):
        measure(decoder, _ids(2, 6), 4, repeats=0)


def test_rows_are_a_timing_table_and_later_ones_replace_earlier(tmp_path: Path) -> None:
    path = tmp_path / "cpu.csv"
    decoder = random_decoder(SMALL)

    def rows(batches: tuple[int, ...]) -> list[dict]:
        return list(measure_batches(decoder, uniform_requests(96), batches, "random", 8, 4, repeats=1))

    record_rows(path, [*rows((1, 4)), *rows((4,))])
    first = read_timings(path)
    assert first["batch"].tolist() == [1, 4]
    assert model_of(first.iloc[0]) == SMALL
    assert np.isfinite(works(first, "decode").flops).all()
    record_rows(path, rows((4, 16)))
    second = read_timings(path)
    assert second["batch"].tolist() == [1, 4, 16]
    assert second["decode_step_seconds"].iloc[0] == first["decode_step_seconds"].iloc[0]
    assert second["measured_at"].notna().all()
    assert [file.name for file in tmp_path.iterdir()] == ["cpu.csv"]


def test_rows_say_what_decoded_and_a_machine_is_fitted_to_one_engine(tmp_path: Path) -> None:
    path = tmp_path / "cpu.csv"

    def rows(engine: str, batches: tuple[int, ...]) -> list[dict]:
        decoder = random_decoder(SMALL, engine=engine)
        return list(measure_batches(decoder, uniform_requests(96), batches, "random", 8, 4, repeats=1))

    record_rows(path, rows("eager", (1, 4)))
    # What was recorded before there was the column is eager, and is measured again by that engine alone.
    table = pd.read_csv(path).drop(columns="engine")
    table.to_csv(path, index=False)
    record_rows(path, rows("compiled", (1,)))
    record_rows(path, rows("eager", (1,)))
    read = read_timings(path)
    assert list(zip(read["batch"], read["engine"], strict=True)) == [(1, "eager"), (4, "eager"), (1, "compiled")]
    assert engines(read) == ["compiled", "eager"]
    assert read_timings(path, "eager")["batch"].tolist() == [1, 4]
    with pytest.raises(TimingError, match=r"cpu\.csv: no row with engine = 'quick'; found 'compiled', 'eager'"):
        read_timings(path, "quick")
    assert engines(table) == ["eager"]
    with pytest.raises(ValueError, match=r"column 'engine': found 'compiled', 'eager'; .* keep the rows of one"):
        calibrate(read)
    assert read.loc[read["engine"] == "compiled", "threads"].tolist() == [1]


def _timed(batch: int, milliseconds: float) -> dict:
    """A row with given times, of a model that is not run."""
    return {
        **SMALL.to_dict(), "weights": "random", "routing": "router", "text": "uniform", "batch": batch,
        "prompt_tokens": 8, "new_tokens": 4, "dtype": "float32", "device": "cpu", "machine": "here", "threads": 1,
        "prefill_seconds": 2e-3 * milliseconds, "prefill_low": 0.0, "prefill_high": 0.0,
        "decode_step_seconds": 1e-3 * milliseconds, "decode_step_low": 0.0, "decode_step_high": 0.0,
        "tokens_per_second": 0.0, "repeats": 2, "passes": 1, "processor_share": 1.0, "peak_memory_bytes": batch,
    }  # fmt: skip


def test_a_pass_that_was_disturbed_does_not_move_the_row() -> None:
    # A burst over the whole of the second pass, which repeats within the pass could not see.
    factors = (1.0, 2.5, 1.1, 0.9, 1.0)
    rows = list(in_passes(lambda number: (_timed(b, b * factors[number]) for b in (1, 4)), passes=5))
    assert [row["passes"] for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    for row in rows[-2:]:
        batch = row["batch"]
        assert row["decode_step_seconds"] == pytest.approx(1e-3 * batch)
        assert (row["decode_step_low"], row["decode_step_high"]) == pytest.approx((1e-3 * batch, 1.1e-3 * batch))
        assert row["prefill_seconds"] == pytest.approx(2e-3 * batch)
        assert row["tokens_per_second"] == pytest.approx(1000)
        assert row["repeats"] == 10
    assert rows[2]["decode_step_seconds"] == pytest.approx(1.75e-3)
    assert over_passes([_timed(1, 3.0)]) == _timed(1, 3.0)


def test_the_grid_goes_over_all_settings_in_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, said = _corpus(), []

    def tiny(width: int, n_experts: int, top_k: int = 1) -> Transformer:
        return Transformer(replace(SMALL, d_model=width // 2, n_experts=n_experts, top_k=1))

    monkeypatch.setattr(grid, "load_corpus", lambda: corpus)
    monkeypatch.setattr(grid, "trained_model", tiny)
    monkeypatch.setattr(grid, "WIDTHS", (64,))
    rows = list(measure_grid(passes=2, repeats=1, batches=(1, 2), on_event=said.append))
    # Dense once, two mixtures with their router and with a die; two batches; twice.
    assert len(rows) == 2 * 5 * 2
    assert [row["passes"] for row in rows] == [1] * 10 + [2] * 10
    for first, second in zip(rows[:10], rows[10:], strict=True):
        for name in ("n_experts", "routing", "batch", "experts_touched", "expert_load"):
            assert first[name] == second[name], name
        assert second["repeats"] == 2
        loads = json.loads(second["expert_load"] or "[]")
        assert [sum(layer) for layer in loads] == pytest.approx(
            [1, 1] if second["routing"] == "router" else [], abs=1e-3
        )
    assert [sentence.partition(":")[0] for sentence in said] == ["pass 1 of 2"] * 3 + ["pass 2 of 2"] * 3


def _corpus() -> Corpus:
    """A text of 96 token ids in which each token's successor is nearly certain."""
    rng = np.random.default_rng(0)
    tokens = (np.cumsum(rng.choice([1, 5], size=60_000, p=[0.9, 0.1])) % 96).astype(np.uint16)
    return Corpus("steps", tokens, tokens, np.ones(96, np.int64), "0", Path("none"), (("steps", 60_000, 60_000),))


def test_requests_do_not_overlap_and_are_not_where_loads_are_counted() -> None:
    text = np.arange(4_000, dtype=np.uint16)
    corpus = replace(_corpus(), validation=text)
    requests = requests_of(corpus).draw(20, 50)
    assert len(requests.unique()) == 1_000
    assert requests.min() >= 2_000
    assert torch.equal(requests.diff(), torch.ones(20, 49, dtype=torch.long))
    with pytest.raises(ValueError, match="41 requests of 50 tokens: the held-out text has 40"):
        requests_of(corpus).draw(41, 50)


def test_loads_predict_the_experts_of_independent_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = _corpus()
    decoder = random_decoder(replace(SMALL, top_k=1))
    loads = loads_of(decoder, corpus)
    assert [sum(layer) for layer in loads] == pytest.approx([1, 1], abs=1e-4)
    chosen = routes_of(decoder, requests_of(corpus).draw(200, 64))
    for layer, ids_BTK in zip(loads, chosen, strict=True):
        assert ids_BTK.shape == (200, 64, 1)
        mixed_1MK = ids_BTK.flatten(0, 1)[torch.randperm(200 * 64, generator=torch.Generator().manual_seed(0))][None]
        counts = routes._distinct(mixed_1MK, 8, 8)
        assert len(counts) == 1_600
        assert counts.mean() == pytest.approx(experts_of_loads(layer, 1, 8), rel=0.03)

    monkeypatch.setattr(routes, "load_corpus", lambda: corpus)
    monkeypatch.setattr(routes, "trained_model", lambda width, n_experts, top_k: Transformer(replace(SMALL, top_k=1)))
    table = pd.DataFrame(measure_touched(32, experts=((8, 1),), batches=(1, 8, 64, 128)))
    assert (table.loc[table["tokens"] == 1, "touched"] == 1).all()
    apart, alike = (table[(table["source"] == kind) & (table["tokens"] == 8)] for kind in ("independent", "one text"))
    assert (len(apart), len(alike)) == (2, 2)
    assert (apart["groups"] == 64 * (468 // 8)).all()
    # Tokens that follow each other run through the alphabet: they are not draws from the loads.
    error = [np.abs(kind["touched"] / kind["of_load"] - 1).max() for kind in (apart, alike)]
    assert error[0] < error[1]
    assert set(table.loc[table["tokens"] == 128, "source"]) == {"independent"}


def test_distinct_experts_of_groups_by_hand() -> None:
    ids_NMK = torch.tensor([[[0], [1], [1], [1], [2]]])
    assert routes._distinct(ids_NMK, 2, 4).tolist() == [2, 1]
    assert routes._distinct(ids_NMK, 5, 4).tolist() == [3]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny:", {"d_model": 64, "n_experts": 1}),
        ("tiny:d=32,E=8,K=2,G=2,V=96,T=64", {"d_model": 32, "n_experts": 8, "top_k": 2, "granularity": 2}),
    ],
)
def test_tiny_models_by_name(name: str, expected: dict[str, int]) -> None:
    fields = parse_config(name).to_dict()
    assert {key: fields[key] for key in expected} == expected


def test_models_from_files_and_folders(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_text(json.dumps(SMALL.to_dict()))
    assert parse_config(str(file)) == SMALL
    save_checkpoint(Transformer(SMALL), tmp_path / "checkpoint")
    decoder, requests, weights = open_model(str(tmp_path / "checkpoint"))
    assert (decoder.config, requests.name, weights) == (SMALL, "uniform", "trained")
    for name, text, message in (
        ("tiny:d=64,X=1", None, "found 'X=1', expected one of d, E, K"),
        ("tiny:E=many", None, "found 'E=many'"),
        ("nowhere", None, "nowhere: No such file"),
        ("bad.json", "{", "not JSON"),
        ("list.json", "[]", "found a list"),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
            name = str(tmp_path / name)
        with pytest.raises(ValueError, match=message):
            parse_config(name)
    with pytest.raises(ConfigError, match="top_k = 4"):
        parse_config("tiny:E=2,K=4")


def test_the_command_prints_a_line_a_batch_and_writes_the_table(tmp_path: Path, capsys) -> None:
    out = tmp_path / "mine.csv"
    threads = torch.get_num_threads()
    arguments = ["tiny:d=32,E=8,V=96", "--batch", "1,4", "--prompt", "8", "--new", "4", "--repeats", "2"]
    assert main(["measure", *arguments, "--clock", "processor", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "random weights, requests from uniform" in printed
    assert "compiled decoding" in printed
    assert len([line for line in printed.splitlines() if " router " in line]) == 2
    table = read_timings(out)
    assert table["batch"].tolist() == [1, 4]
    assert set(table["clock"]) == {"processor"}
    assert torch.get_num_threads() == threads


def test_calibration_writes_the_machine(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        grid,
        "measure_calibration",
        lambda *options: measure_calibration(
            *options, models=list(product((16, 32), (1, 8))), batches=(1, 2, 4, 8, 16, 32)
        ),
    )
    out, machine = tmp_path / "here.csv", tmp_path / "machine.json"
    arguments = ["--calibrate", "--passes", "2", "--clock", "processor", "--out", str(out), "--json", str(machine)]
    assert main(["measure", *arguments]) == 0
    assert "off in the median" in capsys.readouterr().out
    assert json.loads(machine.read_text())["machine"]["bytes_per_second"] > 0
    table = read_timings(out)
    assert len(table) == 24
    assert (table["passes"] == 2).all()


def test_calibration_is_over_when_its_time_is(tmp_path: Path, capsys) -> None:
    """However slow the machine: after the time given, what a fit needs is measured, and no more."""
    out = tmp_path / "here.csv"
    assert main(["measure", "--calibrate", "--seconds", "0.001", "--out", str(out)]) == 0
    table = read_timings(out)
    assert len(table) == FEWEST
    assert table.groupby(["d_model", "n_experts"]).ngroups >= 3
    assert f"{FEWEST} rows in {out}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the three"),
        (["tiny:", "--grid"], "one of the three"),
        (["tiny:", "--clock", "processor", "--threads", "2"], "--clock processor"),
        (["nowhere"], "nowhere: No such file"),
    ],
)
def test_wrong_requests_of_the_command(arguments: list[str], message: str, capsys) -> None:
    assert main(["measure", *arguments]) == 2
    assert message in capsys.readouterr().err
