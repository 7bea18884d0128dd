"""Plans against a law whose optima can be worked out on paper, and what is impossible said in a sentence.

The law is L = 2 + a / N + b / D with all parameters in experts: n active ones, N = n E / K, C = 6 n D. Then
L(n) = 2 + a K / (E n) + 6 b n / C, with n* = sqrt(a C K / (6 b E)) and L* = 2 + 2 sqrt(6 a b K / (C E)).
"""

import json
from dataclasses import dataclass, fields

import numpy as np
import pytest

from moelaws.fitting.fit import fit
from moelaws.laws import law_from_formula
from moelaws.optimum import forecaster as forecaster_module
from moelaws.optimum import optimum as optimum_module
from moelaws.optimum import search as searches
from moelaws.optimum import sizes as sizes_module
from moelaws.optimum.family import switch
from moelaws.optimum.forecaster import Forecaster
from moelaws.optimum.known_coefficients import OptimumError
from moelaws.serving import frontier as frontier_module
from moelaws.serving.bounded import Trade, bounded_cost, bounded_loss, loss_optimal, with_memory
from moelaws.serving.cost import Deployment, Traffic, deploy
from moelaws.serving.forecasters import ours, published, read_fit
from moelaws.serving.frontier import least_dollars, same_loss_models
from moelaws.serving.hardware import accelerator
from moelaws.serving.planning.advice import ask
from moelaws.serving.planning.plan import PlanError, Request, Row
from moelaws.serving.planning.planner import plan
from moelaws.serving.shape import ShapeRule
from published_runs import runs_of

A, B, C = 1e8, 2e9, 1.2e20
LAW = law_from_formula("toy", "e + a/N^alpha + b/D^beta", {"N": "total_params", "D": "tokens"})
TOY = Forecaster(LAW, {"e": 2.0, "a": A, "b": B, "alpha": 1.0, "beta": 1.0})
SHAPE = ShapeRule(mu=0.04, aspect=100.0)


@dataclass(frozen=True)
class PerParameter:
    """A step takes a picosecond for each parameter in memory; prompts are free."""

    def prefill(self, model, prompts, gpus):
        return 0.0 * prompts

    def decode(self, model, batch, gpus):
        return 1e-12 * model.total_params / gpus + 0 * batch


def box(**changes) -> Deployment:
    values = dict(
        name="box", latency=PerParameter(), gpus=(1,), memory_bytes=100e9, train_flops_per_second=1e14,
        dollars_per_hour=3.6, traffic=Traffic(200, 400), max_batch=10.0,
    )  # fmt: skip
    return Deployment(**(values | changes))


TRADE = Trade(TOY, box(), SHAPE)


def best_n(e: float) -> float:
    return (A * C / (6 * B * e)) ** 0.5


def best_loss(e: float) -> float:
    return 2 + 2 * (6 * A * B / (C * e)) ** 0.5


def dollars_per_token(total: float) -> float:
    # Ten requests at once, a thousandth of a dollar a second.
    return 0.001 * 1e-12 * total / 10


def smallest_n(e: float, loss: float) -> float:
    # The smaller root of 6 b n^2 / C - (L - 2) n + a / E = 0.
    p, q, r = 6 * B / C, loss - 2, A / e
    return (q - (q * q - 4 * p * r) ** 0.5) / (2 * p)


@pytest.mark.parametrize("e", [1, 8])
def test_loss_optimal_by_hand(e):
    found = loss_optimal(TRADE, C, e, 1)
    assert found.allocation.active_params == pytest.approx(best_n(e), rel=1e-4)
    assert found.allocation.loss == pytest.approx(best_loss(e), rel=1e-9)
    assert found.allocation.tokens == pytest.approx(C / (6 * best_n(e)), rel=1e-4)
    assert found.serving.dollars_per_token == pytest.approx(dollars_per_token(e * best_n(e)), rel=1e-4)
    assert found.memory_bytes == pytest.approx(2 * e * best_n(e), rel=1e-4)
    assert found.train_dollars == pytest.approx(C / 1e14 * 0.001)
    assert found.total_dollars(1e12) == pytest.approx(found.train_dollars + 1e12 * found.serving.dollars_per_token)


def test_bounded_loss_by_hand():
    found = bounded_loss(TRADE, C, best_loss(1), 8, 1)
    n = smallest_n(8, best_loss(1))
    assert found.allocation.active_params == pytest.approx(n, rel=1e-4)
    assert found.allocation.train_flops == C
    assert found.serving.dollars_per_token / dollars_per_token(best_n(1)) == pytest.approx(8 * n / best_n(1), rel=1e-3)


def test_bounded_cost_by_hand():
    # Cost is proportional to N here: at the dense model's cost, n is an eighth of the dense one's.
    found = bounded_cost(TRADE, C, dollars_per_token(best_n(1)), 8, 1)
    n = best_n(1) / 8
    assert found.allocation.active_params == pytest.approx(n, rel=1e-4)
    assert found.allocation.loss == pytest.approx(2 + A / (8 * n) + 6 * B * n / C, rel=1e-6)
    # A bound that does not bind leaves the loss-optimal model.
    assert bounded_cost(TRADE, C, 1.0, 8, 1).allocation.active_params == pytest.approx(best_n(8), rel=1e-4)
    with pytest.raises(OptimumError, match=r"no model with E = 8 can be served on box for \$1e-20 per million"):
        bounded_cost(TRADE, C, 1e-26, 8, 1)


def test_bounded_cost_lies_right_of_a_jump():
    # A second processor is needed from 10 GB on and makes a token dearer; the bound lies just above the first's price.
    deployment = box(gpus=(1, 2), memory_bytes=10e9, max_batch=np.inf)
    trade = Trade(TOY, deployment, ShapeRule(mu=0.4, aspect=100.0))
    sizes = np.linspace(1e8, best_n(8), 200_001)
    cost = trade.serving(sizes, 8, 1).dollars_per_token
    bound = float(np.quantile(cost[np.isfinite(cost)], 0.7))
    found = bounded_cost(trade, C, bound, 8, 1)
    assert found.size == pytest.approx(sizes[cost <= bound].max(), rel=1e-4)


def test_least_dollars_against_every_size():
    # Above the dense model's best, where its range of sizes is not a single one.
    target, tokens = best_loss(1) + 0.01, 3e15
    for e in (1, 4, 8):
        n = np.append(np.geomspace(1e6, 1e10, 400_001), smallest_n(e, target))
        with np.errstate(divide="ignore", invalid="ignore"):
            d = B / (target - 2 - A / (e * n))
        flops = np.where(d > 0, 6 * n * d, np.inf)
        total = flops / 1e14 * 0.001 + tokens * dollars_per_token(e * n)
        total[flops > C * (1 + 1e-6)] = np.inf
        found = least_dollars(TRADE, C, target, e, 1, tokens)
        assert found.total_dollars(tokens) == pytest.approx(total.min(), rel=1e-5)
        assert found.allocation.loss <= target + 1e-6
        assert found.allocation.train_flops <= C


def test_more_to_serve_means_smaller_and_longer_trained():
    found = [least_dollars(TRADE, C, best_loss(1), 8, 1, tokens) for tokens in (0, 1e10, 1e17)]
    sizes = [f.allocation.total_params for f in found]
    assert sizes[0] > sizes[1] > sizes[2]
    assert found[0].allocation.train_flops == pytest.approx(C / 8, rel=1e-4)  # L* depends on C E
    assert found[2].allocation.train_flops == pytest.approx(C, rel=1e-3)


def test_sizes_of_one_loss():
    target = best_loss(1) + 0.01
    table = same_loss_models(TRADE, C, target, (1, 8))
    assert set(table["n_experts"]) == {1, 8}
    predicted = LAW.predict(TOY.params, table)
    assert np.asarray(predicted) == pytest.approx(target, abs=1e-5)
    assert (table["train_flops"] <= C).all()
    assert table["train_seconds"].to_numpy() == pytest.approx(table["train_flops"] / 1e14)
    assert table["serve_seconds"].to_numpy() == pytest.approx(1e-12 * table["total_params"] / 10)
    eight = table[table["n_experts"] == 8]
    assert eight["active_params"].min() == pytest.approx(smallest_n(8, target), rel=0.01)
    # The cheapest row is what least_dollars finds, as far as a grid of 60 sizes can.
    dollars = 0.001 * (table["train_seconds"] + 1e10 * table["serve_seconds"])
    least = min(least_dollars(TRADE, C, target, e, 1, 1e10).total_dollars(1e10) for e in (1, 8))
    assert dollars.min() == pytest.approx(least, rel=0.01)
    with pytest.raises(OptimumError, match=r"no model reaches the loss 2\.05 within"):
        same_loss_models(TRADE, C, 2.05, (1, 2))


def test_memory_by_hand():
    # 1 GB holds 5e8 values: N is 5e8 less one request's cache, and the loss-optimal mixture is larger.
    trade = Trade(TOY, box(memory_bytes=1e9), SHAPE)
    assert not loss_optimal(trade, C, 8, 1).fits
    found = with_memory(trade, C, 8, 1)
    n = found.allocation.active_params
    assert found.fits
    assert 8 * n + 400 * 2 * 0.04 * n ** (2 / 3) == pytest.approx(5e8, rel=1e-4)


def test_every_field_of_a_row_by_hand():
    request = Request(C, 1e15, experts=(1, 8))
    found = ask(request, box(), {"toy": TOY}).laws[0]
    n = best_n(8)
    row = next(r for r in found.rows if r.kind == "loss-optimal" and r.n_experts == 8)
    expected = {
        "law": "toy", "kind": "loss-optimal", "n_experts": 8, "top_k": 1, "sparsity": 7 / 8,
        "total_params": 8 * n, "active_params": n, "tokens": C / (6 * n), "loss": best_loss(8),
        "loss_low": np.nan, "loss_high": np.nan, "train_flops": C, "train_dollars": 1200.0,
        "serve_dollars": 1e15 * dollars_per_token(8 * n), "total_dollars": 1200 + 1e15 * dollars_per_token(8 * n),
        "dollars_per_million": 1e6 * dollars_per_token(8 * n), "memory_gb": 16 * n / 1e9, "gpus": 1, "batch": 10.0,
        "fits": True, "note": "",
    }  # fmt: skip
    assert set(expected) == {f.name for f in fields(Row)}
    for name, value in expected.items():
        got = getattr(row, name)
        if isinstance(value, float):
            assert got == pytest.approx(value, rel=2e-4, nan_ok=True), name
        else:
            assert got == value, name


def test_the_recommendations_are_the_least_of_their_kind():
    found = ask(Request(C, 1e15), box(), {"toy": TOY}).laws[0]
    assert found.target == pytest.approx(best_loss(1))
    assert found.cheapest.total_dollars == min(r.total_dollars for r in found.rows if r.kind == "cheapest")
    assert found.best.loss == min(r.loss for r in found.rows if r.kind == "best at cost")
    base = next(r for r in found.rows if r.kind == "loss-optimal" and r.n_experts == 1)
    for row in found.rows:
        if row.kind == "cheapest":
            assert row.loss <= found.target + 1e-5
        if row.kind == "best at cost":
            assert row.dollars_per_million <= base.dollars_per_million * (1 + 1e-9)


def test_what_does_not_fit_is_said():
    found = ask(Request(C, 1e12), box(memory_bytes=2.2e9), {"toy": TOY}).laws[0]
    rows = {r.n_experts: r for r in found.rows if r.kind == "loss-optimal"}
    assert rows[1].fits
    assert not rows[64].fits
    assert rows[64].note.startswith(
        "a model with E = 64 and N = 8e+09 needs 16 GB for its weights; 1 x box hold 2.2 GB"
    )
    assert rows[64].serve_dollars == np.inf
    assert all(r.fits for r in found.rows if r.kind != "loss-optimal")


def test_nothing_fits_is_a_sentence():
    with pytest.raises(PlanError, match=r"toy: a model with E = 64 and N = .* GB for its weights; 1 x box hold"):
        ask(Request(C, 1e12), box(memory_bytes=1e7), {"toy": TOY})
    with pytest.raises(PlanError, match="of cache for one request"):
        ask(Request(C, 1e12, experts=(1,)), box(memory_bytes=2e9 + 1e5), {"toy": TOY})


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (lambda: Request(0, 1e12), "a training budget of 0 FLOPs trains nothing"),
        (lambda: Request(float("nan"), 1e12), "trains nothing"),
        (lambda: Request(1e20, -1), "serve tokens = -1: expected a number >= 0"),
        (lambda: Request(1e20, 1, loss=-2.0), "loss = -2: expected a number > 0"),
        (lambda: Request(1e20, 1, experts=()), "expected whole numbers >= 1"),
        (lambda: Request(1e20, 1, experts=(2, 4), top_k=8), "top_k = 8: expected at most the number of experts, 4"),
        (
            lambda: Request(C, 1, loss=1.9),
            "toy: the loss 1.9 is below the law's floor: no size and no data get under 2",
        ),
        (lambda: Request(C, 1, loss=2.001), "toy: the loss 2.0010 is out of reach at 1.2e.20 FLOPs with E = 64"),
    ],
)
def test_impossible_requests_get_a_sentence(request_of, message):
    with pytest.raises(PlanError, match=message):
        ask(request_of(), box(), {"toy": TOY})


def test_laws_disagree_by_a_ratio_and_one_may_refuse():
    other = Forecaster(LAW, dict(TOY.params) | {"a": 4 * A})
    hopeless = Forecaster(LAW, dict(TOY.params) | {"e": 5.0})
    request = Request(C, 0, experts=(1,), loss=2.5)  # best with C: 2.2, and 2.4 with four times a
    found = ask(request, box(), {"toy": TOY, "other": other, "hopeless": hopeless})
    assert [each.law for each in found.laws] == ["toy", "other"]
    assert "below the law's floor" in found.refused["hopeless"]
    apart = {one.field: one for one in found.disagreement}
    # The least compute for a loss is 24 a b / (L - 2)^2: four times as much for four times a.
    assert apart["total_dollars"].ratio == pytest.approx(4, rel=1e-3)
    assert apart["n_experts"].ratio == 1
    assert ask(request, box(), {"toy": TOY}).disagreement == ()


def test_replicates_become_bands():
    rng = np.random.default_rng(0)
    replicates = {name: np.full(200, value) for name, value in TOY.params.items()} | {
        "a": A * rng.uniform(0.8, 1.2, 200)
    }
    banded = Forecaster(LAW, TOY.params, replicates=replicates)
    row = ask(Request(C, 1e12, experts=(1, 8)), box(), {"toy": banded}).laws[0].best
    assert row.loss_low < row.loss < row.loss_high
    # At a fixed size the loss moves by a / N alone.
    spread = np.quantile(replicates["a"], [0.025, 0.975]) / row.total_params
    assert row.loss_high - row.loss_low == pytest.approx(spread[1] - spread[0], rel=0.02)


def test_notes_say_what_to_know():
    far = ask(Request(1e24, 0), box(gpus=(1,), memory_bytes=1e15), {"abnar2025": published("abnar2025")}).laws[0]
    assert "fitted to budgets of 3e+19 to 1e+21 FLOPs; this is an extrapolation" in far.notes[0]
    assert any(note.startswith("no band") for note in far.notes)


def test_a_fit_of_ones_own_is_read(tmp_path):
    path = tmp_path / "mine.json"
    content = {
        "law": "formula", "formula": LAW.formula, "params": dict(TOY.params),
        "columns": {"N": "total_params", "D": "tokens"}, "intervals": {"a": [1, 2]},
    }  # fmt: skip
    path.write_text(json.dumps(content))
    read = read_fit(path)
    assert read.params == TOY.params
    assert loss_optimal(Trade(read, box(), SHAPE), C, 8, 1).allocation.loss == pytest.approx(best_loss(8))
    assert read.replicates == {}
    path.write_text(json.dumps(content | {"replicates": {name: [v, v] for name, v in TOY.params.items()}}))
    assert len(read_fit(path).replicates["a"]) == 2


def test_a_known_law_is_read_by_name(tmp_path):
    path = tmp_path / "mine.json"
    abnar = published("abnar2025")
    path.write_text(json.dumps({"law": "abnar2025", "formula": abnar.law.formula, "params": dict(abnar.params)}))
    assert read_fit(path).law is abnar.law


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"mine.json: not JSON"),
        ("[]", r"mine.json: expected a JSON object, found a list"),
        ('{"law": "x", "formula": "a/N", "params": 3, "columns": {"N": "total_params"}}', "params must map parameters"),
        (
            '{"law": "x", "formula": "a/N", "params": {"b": 3}, "columns": {"N": "total_params"}}',
            "params and law 'x' do not agree on the parameter 'a'",
        ),
        (
            '{"law": "x", "formula": "a/N", "params": {"a": 3}, "columns": {"N": "total_params"},'
            ' "replicates": {"b": [1]}}',
            "replicates must hold equally many values",
        ),
        (
            '{"law": "x", "formula": "a/N", "params": {"a": 3}, "columns": {"N": "total_params"},'
            ' "ranges": {"train_flops": 1e11}}',
            "ranges must map columns to two numbers",
        ),
    ],
)
def test_files_that_are_no_fit(tmp_path, text, message):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_fit(path)


def test_laws_that_cannot_plan_say_so(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="law 'clark2022' cannot plan"):
        published("clark2022")
    with pytest.raises(ValueError, match="no law 'nobody2030'"):
        published("nobody2030")
    with pytest.raises(ValueError, match="cannot be read"):
        read_fit(tmp_path / "none.json")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/fits").mkdir(parents=True)
    text = '{"law": "x", "formula": "a/N", "params": {"a": 3}, "columns": {"N": "total_params"}}'
    (tmp_path / "data/fits/ours.json").write_text(text)
    found = ours()
    assert found is not None
    assert found.params == {"a": 3.0}


def test_no_optimum_is_searched_twice(monkeypatch):
    """It was: three minima for each number of experts, and 133 roots a law."""
    counts = {"crossing": 0, "minimise": 0}

    def counted(name, search):
        def call(*arguments):
            counts[name] += 1
            return search(*arguments)

        return call

    for name in counts:
        asked = counted(name, getattr(searches, name))
        for module in (forecaster_module, optimum_module, sizes_module, frontier_module):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, asked)
    experts = (1, 2, 4, 8, 16, 32, 64)
    deployment = deploy(accelerator("a100-40gb"), (1, 2, 4, 8))
    ask(Request(1e21, 1e12, experts), deployment, {"abnar2025": published("abnar2025")})
    assert counts["minimise"] == len(experts)
    assert counts["crossing"] <= 7 * len(experts)


def test_a_plan_asks_a_fit_or_its_file(tmp_path):
    fitted = fit("hoffmann2022", runs_of("hoffmann2022", 60, noise=0.002), "lsq-log").with_family(
        switch(vocab_size=256)
    )
    out = tmp_path / "mine.json"
    fitted.to_json(out)
    found = plan(1e20, 1e10, laws={"fit": fitted, "file": out}, experts=(1,))
    one, other = (each.cheapest for each in found.laws)
    assert other.total_params == pytest.approx(one.total_params, rel=1e-6)
    assert one.loss_low < one.loss < one.loss_high
    assert other.loss_high == pytest.approx(one.loss_high, rel=1e-6)
    assert read_fit(out).family.settings == {"vocab_size": 256, "aspect": 64.0}
    out.write_text(out.read_text().replace('"switch"', '"dense"'))
    with pytest.raises(ValueError, match=r"mine\.json: no family 'dense'"):
        read_fit(out)
