"""The compiled decoder says what the eager one says: logits, routes and tokens, for every model that there can be."""

import sys
from dataclasses import replace
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch
from numba import njit

from moelaws.config import ModelConfig
from moelaws.decoding import engine as engines
from moelaws.decoding.cache import CacheError
from moelaws.decoding.compiled.compiled_decoder import CompiledDecoder
from moelaws.decoding.compiled.working_memory import SCORES as COMPILED_SCORES
from moelaws.decoding.decoder import Decoder
from moelaws.decoding.engine import EngineError, EngineWarning, make_decoder
from moelaws.decoding.generate import generate
from moelaws.kernels import compilation
from moelaws.kernels.arithmetic import exponential
from moelaws.kernels.tiles import MOST_ROWS, VECTOR, WIDE, tile
from moelaws.models import ExpertsLayer, Transformer
from moelaws.models.router import SCORES

SMALL = ModelConfig(vocab_size=96, d_model=32, n_layers=2, n_heads=2, d_ff=64, n_experts=8, top_k=2, context=64)
# Widths that fill no vector, heads that end in the middle of one.
ODD = replace(SMALL, vocab_size=101, d_model=36, n_heads=3, d_ff=40, granularity=2, n_experts=5)
MODELS = {
    "dense": replace(SMALL, n_experts=1, top_k=1),
    "K = 1": replace(SMALL, top_k=1),
    "K = 2": SMALL,
    "K = 2, renormalised": replace(SMALL, renormalize_top_k=True),
    "G = 2, untied": replace(SMALL, granularity=2, tied_embeddings=False),
    "every expert": replace(SMALL, top_k=8),
    "shared": replace(SMALL, shared_experts=1),
    "every other layer": replace(SMALL, moe_every=2),
    "no QK-norm": replace(SMALL, qk_norm=False),
    "token shift": replace(SMALL, token_shift=True),
    "sigmoid": replace(SMALL, router_scores="sigmoid", renormalize_top_k=True),
    "wide": replace(SMALL, d_model=128, n_heads=2, d_ff=192, n_layers=1),
    "odd": replace(ODD, shared_experts=2),
    "odd, shifted": replace(ODD, token_shift=True, renormalize_top_k=True, moe_every=2),
    "odd, dense": replace(ODD, d_model=10, n_heads=1, d_ff=14, n_experts=1, top_k=1, granularity=1),
    "one layer, long head": replace(ODD, d_model=40, n_heads=1, n_layers=1, rope_theta=500.0),
}
PROMPTS = [[5, 17, 80, 3, 3, 9, 41], [7], [90, 2, 55, 1]]
TOLERANCE = 1e-4


def _model(config: ModelConfig, seed: int = 3) -> Transformer:
    """Weights with gains and balance biases that are not at their first values."""
    model = Transformer(config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gain"):
                parameter.copy_(1 + 0.5 * torch.rand(parameter.shape, generator=generator))
        for block in model.blocks:
            if isinstance(block.experts, ExpertsLayer):
                block.experts.balance_bias += torch.linspace(-0.1, 0.1, config.n_experts)
    return model


def _ids(batch: int = 3, time: int = 40) -> torch.Tensor:
    return torch.randint(96, (batch, time), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
def test_logits_and_routes_are_the_eager_decoders(config: ModelConfig) -> None:
    model, ids_BT = _model(config), _ids()
    eager, compiled = Decoder(model), CompiledDecoder(model)
    assert compiled.routed_layers == eager.routed_layers
    for prompts in (ids_BT[:, :10], PROMPTS):
        both = [decoder.prefill(prompts, room=30) for decoder in (eager, compiled)]
        errors = [(both[0][0] - both[1][0]).abs().max()]
        for begin, end in ((10, 16), (16, 17), (17, 18), (18, 19)):
            routes: tuple[list[torch.Tensor], list[torch.Tensor]] = [], []
            logits = [
                decoder.extend(cache, ids_BT[:, begin:end], kept)
                for decoder, (_, cache), kept in zip((eager, compiled), both, routes, strict=True)
            ]
            errors.append((logits[0] - logits[1]).abs().max())
            assert all(map(torch.equal, *routes))
            assert len(routes[1]) == compiled.routed_layers
        assert max(errors) <= TOLERANCE
        assert logits[1].shape == (3, config.vocab_size)
        assert logits[1].std() > 0.1


@pytest.mark.parametrize("name", ["dense", "K = 2", "odd", "odd, shifted", "sigmoid"])
def test_greedy_tokens_are_the_eager_decoders(name: str) -> None:
    model = _model(MODELS[name])
    found = {engine: generate(model, PROMPTS, 24, engine=engine).tokens for engine in ("compiled", "eager")}
    assert found["compiled"] == found["eager"]


def test_a_batch_of_many_rows_for_each_expert_is_right() -> None:
    model, ids_BT = _model(SMALL), _ids(batch=70, time=12)
    both = [decoder.prefill(ids_BT[:, :10], room=2) for decoder in (Decoder(model), CompiledDecoder(model))]
    assert (both[0][0] - both[1][0]).abs().max() <= TOLERANCE


def test_a_long_prompt_is_read_in_parts() -> None:
    model, ids_BT = _model(replace(SMALL, token_shift=True)), _ids(batch=2, time=400)
    kept: dict[type, list[torch.Tensor]] = {Decoder: [], CompiledDecoder: []}
    found = [kind(model).prefill(ids_BT, room=0, routes=routes)[0] for kind, routes in kept.items()]
    assert (found[0] - found[1]).abs().max() <= TOLERANCE
    assert all(map(torch.equal, *kept.values()))


def test_experts_can_be_given() -> None:
    model, ids_BT = _model(SMALL), _ids()
    forced = torch.rand(2, 30, 8, generator=torch.Generator().manual_seed(1)).topk(2).indices
    routes: list[torch.Tensor] = []
    expected_BV, _ = Decoder(model).prefill(ids_BT[:, :10], 1, forced=forced)
    compiled = CompiledDecoder(model)
    found_BV, cache = compiled.prefill(ids_BT[:, :10], 1, routes, list(forced))
    assert (found_BV - expected_BV).abs().max() <= TOLERANCE
    assert torch.equal(torch.stack(routes), forced)
    with pytest.raises(IndexError, match="expected 0 to 7"):
        compiled.extend(cache, ids_BT[:, :1], forced=torch.full((2, 3, 2), 8))
    assert cache.length == 10


def test_threads_change_nothing() -> None:
    model, ids_BT = _model(MODELS["odd"]), _ids(time=12)
    one, three = CompiledDecoder(model), CompiledDecoder(model, threads=3)
    for (first_BV, first), (other_BV, other) in zip(
        *[[decoder.prefill(prompts, 2) for prompts in (PROMPTS, ids_BT[:, :8])] for decoder in (one, three)],
        strict=True,
    ):
        assert torch.equal(first_BV, other_BV)
        assert torch.equal(one.extend(first, ids_BT[:, 8:9]), three.extend(other, ids_BT[:, 8:9]))
    with pytest.raises(ValueError, match="threads = 0"):
        CompiledDecoder(model, threads=0)


def test_threads_are_not_left_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = CompiledDecoder(_model(SMALL), threads=2)
    _, cache = decoder.prefill(PROMPTS, 2)
    step = decoder._step

    def interrupted(frame: np.ndarray, thread: int) -> int:
        if thread == 0:
            raise KeyboardInterrupt
        return step(frame, thread)

    monkeypatch.setattr(decoder, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decoder.extend(cache, _ids()[:, :1])
    monkeypatch.undo()
    assert torch.isfinite(decoder.extend(cache, _ids()[:, :1])).all()


def test_caches_take_turns() -> None:
    model, ids_BT = _model(SMALL), _ids()
    decoder = CompiledDecoder(model)
    alone = decoder.extend(decoder.prefill(ids_BT[:, :4], 1)[1], ids_BT[:, 4:5])
    _, first = decoder.prefill(ids_BT[:, :4], 1)
    _, other = decoder.prefill(_ids(9, 30), 9)
    decoder.extend(other, _ids(9, 1))
    assert torch.equal(decoder.extend(first, ids_BT[:, 4:5]), alone)


def test_what_cannot_be_read_is_refused_and_nothing_filled() -> None:
    model = _model(SMALL)
    decoder = CompiledDecoder(model)
    _, cache = decoder.prefill(PROMPTS, 1)
    for token in (-1, 96):
        with pytest.raises(IndexError, match=rf"token {token}: expected 0 to 95"):
            decoder.extend(cache, torch.tensor([[1], [token], [2]]))
    assert cache.length == 7
    decoder.extend(cache, _ids()[:, :1])
    with pytest.raises(CacheError, match="8 are filled and 1 more"):
        decoder.extend(cache, _ids()[:, :1])
    with pytest.raises(CacheError, match="another decoder"):
        decoder.extend(Decoder(model).prefill(PROMPTS, 1)[1], _ids()[:, :1])
    with pytest.raises(CacheError, match="at least one token"):
        decoder.prefill([[1], []], 1)


def test_scores_that_are_not_compiled_are_decoded_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"softmax", "sigmoid"} <= COMPILED_SCORES <= set(SCORES)
    monkeypatch.setattr("moelaws.decoding.compiled.working_memory.SCORES", frozenset({"softmax"}))
    model = Transformer(MODELS["sigmoid"])
    assert make_decoder(model).engine == "eager"
    assert make_decoder(Transformer(SMALL)).engine == "compiled"
    with pytest.raises(EngineError, match="no router with sigmoid scores; take engine = 'eager'"):
        make_decoder(model, "compiled")


def test_the_engine_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Transformer(SMALL)
    assert make_decoder(model).engine == "compiled"
    assert make_decoder(model, "eager").engine == "eager"
    decoder = make_decoder(model, "compiled", threads=2)
    assert (decoder.engine, decoder.threads) == ("compiled", 2)
    assert make_decoder(decoder, "eager") is decoder
    with pytest.raises(EngineError, match=r"engine = 'fast': expected one of auto, compiled, eager"):
        make_decoder(model, "fast")  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="on a CPU, and the model is on meta"):
        make_decoder(Transformer(SMALL).to("meta"), "compiled")


def test_without_numba_torch_decodes_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("moelaws.decoding.compiled"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    engines._warn.cache_clear()
    model = Transformer(SMALL)
    with pytest.warns(EngineWarning, match="pip install numba") as told:
        assert make_decoder(model).engine == "eager"
    assert len(str(told[0].message)) < 400
    assert make_decoder(model).engine == "eager"  # and does not say it again
    with pytest.raises(EngineError, match="numba cannot be imported"):
        make_decoder(model, "compiled")


def test_compiled_code_lies_where_the_user_may_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compilation.numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("MOELAWS_CACHE", str(tmp_path))
    folder = compilation._folder((), {})
    assert folder is not None
    assert folder.parent == tmp_path / "compiled"
    monkeypatch.setattr(compilation.numba.config, "CACHE_DIR", str(tmp_path / "numba"))
    folder = compilation._folder((), {})
    assert folder is not None
    assert folder.parent == tmp_path / "numba" / "compiled"
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(compilation.numba.config, "CACHE_DIR", str(tmp_path / "file"))
    assert compilation._folder((), {}) is None  # then it is compiled, and not kept


def test_tiles_are_products_in_vector_registers() -> None:
    @njit
    def multiply(y, x, w, depth, rows, vectors):  # type: ignore[no-untyped-def]
        tile(y, 0, vectors * VECTOR, x, 0, depth, w, 0, vectors * VECTOR, depth, rows, vectors)

    generator = np.random.default_rng(0)
    for rows in range(1, MOST_ROWS + 1):
        for vectors in (1, WIDE):
            for depth in (1, 3, 64):
                x = generator.normal(size=(rows, depth)).astype(np.float32)
                w = generator.normal(size=(depth, vectors * VECTOR)).astype(np.float32)
                y = np.full(rows * vectors * VECTOR + 1, 7, np.float32)
                multiply(y, x.ravel(), w.ravel(), depth, rows, vectors)
                assert np.allclose(y[:-1].reshape(rows, -1), x @ w, atol=1e-4)
                assert y[-1] == 7
    features = llvm.get_host_cpu_features()
    if features.get("fma"):
        register = "zmm" if features.get("avx512f") else "ymm"
        (assembly,) = multiply.inspect_asm().values()
        body = assembly[assembly.index(f"moelaws_tile_{MOST_ROWS}_{WIDE}:") :]
        fused = [line for line in body[: body.index("retq")].splitlines() if "vfmadd" in line]
        # Each sum of the tile is a register of its own, and none goes through memory on its way.
        assert len({line.rpartition(",")[2] for line in fused if register in line}) == MOST_ROWS * WIDE


def test_the_exponential_is_one() -> None:
    @njit(fastmath=True)
    def each(x, y):  # type: ignore[no-untyped-def]
        for i in range(len(x)):
            y[i] = exponential(x[i])

    x = np.linspace(-87, 88, 100_001, dtype=np.float32)
    y = np.empty_like(x)
    each(x, y)
    assert np.max(np.abs(y / np.exp(x.astype(float)) - 1)) < 3e-7
    each(np.array([-1e30, -100, 0], np.float32), y[:3])
    assert y[0] == y[1] < 1e-37
    assert y[2] == 1
