"""Other programs on our models: the logits and tokens of ours, and a sentence where they are not there or cannot."""

import ctypes
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from command_line import exit_code
from moelaws.config import ModelConfig
from moelaws.decoding.engine import make_decoder
from moelaws.decoding.foreign import llama_library
from moelaws.decoding.foreign.llama_library import PLACE, LlamaError, Parameters, context_parameters, library_file
from moelaws.decoding.foreign.saved_model import ForeignError
from moelaws.decoding.generate import generate
from moelaws.exchange.config_fields import ConfigFileError
from moelaws.measuring.measure import measure
from moelaws.models import Transformer
from moelaws.models.checkpoint import save_checkpoint
from moelaws.runs.timings import engines, read_timings

SMALL = ModelConfig(vocab_size=96, d_model=32, n_layers=2, n_heads=2, d_ff=48, n_experts=8, top_k=2, context=64)


def _llama_is_here() -> bool:
    try:
        library_file()
    except LlamaError:
        return False
    return True


LLAMA = pytest.param(
    "llama.cpp", marks=pytest.mark.skipif(not _llama_is_here(), reason=f"no llama.cpp; {PLACE} names its folder")
)


def _model(config: ModelConfig = SMALL) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


@pytest.mark.parametrize("engine", ["transformers", LLAMA])
@pytest.mark.parametrize(
    "config",
    [
        SMALL, replace(SMALL, n_experts=1, top_k=1), replace(SMALL, tied_embeddings=False, granularity=2),
        replace(SMALL, top_k=1, rope_theta=500.0),
    ],
)  # fmt: skip
def test_logits_and_tokens_are_those_of_the_definition(engine: Any, config: ModelConfig) -> None:
    model = _model(config)
    ours, theirs = make_decoder(model, "eager"), make_decoder(model, engine)
    assert theirs.engine == engine
    for batch in (1, 3, 2):  # a context of llama.cpp is for one number of requests
        ids_BT = torch.randint(config.vocab_size, (batch, 20), generator=torch.Generator().manual_seed(batch))
        prompts_BT = ids_BT[:, :15].contiguous()
        (here, mine), (there, its) = ours.prefill(prompts_BT, 5), theirs.prefill(prompts_BT, 5)
        assert torch.allclose(there, here, atol=1e-4)
        for step in range(15, 20):
            here, there = (
                d.extend(c, ids_BT[:, step : step + 1].contiguous()) for d, c in ((ours, mine), (theirs, its))
            )
            assert torch.allclose(there, here, atol=1e-4)
        assert its.bytes >= mine.bytes
    prompt = [[5, 9, 2, 7]]
    assert generate(theirs, prompt, 12) == generate(ours, prompt, 12)


@pytest.mark.parametrize("engine", ["transformers", LLAMA])
def test_they_are_measured_like_ours(engine: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = _model()
    requests_BT = torch.randint(96, (4, 12), generator=torch.Generator().manual_seed(0))
    ours, theirs = (measure(make_decoder(model, name), requests_BT, 8, repeats=1) for name in ("eager", engine))
    assert theirs.touched == ours.touched
    assert theirs.decode_step.n == 4
    save_checkpoint(model, tmp_path / "model")
    line = ["measure", str(tmp_path / "model"), "--engine", str(engine), "--batch", "2", "--prompt", "4", "--new", "2"]
    assert exit_code([*line, "--out", str(tmp_path / "rows.csv")]) == 0
    assert f"{engine} decoding" in capsys.readouterr().out
    assert engines(read_timings(tmp_path / "rows.csv")) == [engine]
    assert exit_code([*line, "--routing", "uniform"]) == 2
    assert "chooses its experts itself" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["transformers", LLAMA])
def test_what_they_cannot_hold_is_refused(engine: Any) -> None:
    for config in (replace(SMALL, router_scores="sigmoid"), replace(SMALL, token_shift=True)):
        with pytest.raises((ForeignError, ConfigFileError)):
            make_decoder(Transformer(config), engine)
    decoder = make_decoder(_model(), engine)
    with pytest.raises(ForeignError, match="prompts of 2 lengths"):
        decoder.prefill([[1, 2], [3]], 1)
    with pytest.raises(ForeignError, match="does not tell them"):
        decoder.prefill([[1, 2]], 1, routes=[])


def test_where_llama_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    llama_library.library.cache_clear()
    save_checkpoint(_model(), tmp_path / "model")
    line = ["measure", str(tmp_path / "model"), "--engine", "llama.cpp", "--batch", "1"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PLACE, raising=False)
    assert exit_code(line) == 2
    assert "llama.cpp is not here: npm install @node-llama-cpp/linux-x64" in capsys.readouterr().err
    monkeypatch.setenv(PLACE, str(tmp_path / "absent"))
    assert exit_code(line) == 2
    assert "no such folder" in capsys.readouterr().err
    monkeypatch.setenv(PLACE, str(tmp_path))
    assert exit_code(line) == 2
    assert "no libggml-base.so there" in capsys.readouterr().err
    for name in ("libggml-base", "libggml", "libllama"):
        (tmp_path / f"{name}.so").write_bytes(b"not a library")
    assert exit_code(line) == 2
    assert "cannot be used" in capsys.readouterr().err
    llama_library.library.cache_clear()


class _Release:
    """A library whose parameters begin as they do, with these at these places."""

    def __init__(self, **places: int) -> None:
        self.places = places

    def llama_context_default_params(self) -> Parameters:
        found = Parameters()
        for name, at in self.places.items():
            values = [2**32 - 1] * 4 if name == "kinds" else [1, 1]
            found.field[at : at + len(values)] = (ctypes.c_uint32 * len(values))(*values)
        return found


def test_parameters_are_found_by_their_defaults_or_not_at_all() -> None:
    for kinds, cache in ((10, 26), (8, 22)):
        found = context_parameters(_Release(kinds=kinds, cache=cache), 256, 512, 4, exact=True)
        assert list(found.field[:4]) == [1024, 512, 512, 4]
        assert list(found.field[cache : cache + 2]) == [0, 0]
        assert list(found.field[kinds : kinds + 4]) == [2**32 - 1] * 3 + [0]
        usual = context_parameters(_Release(kinds=kinds, cache=cache), 256, 512, 4, exact=False)
        assert list(usual.field[cache : cache + 2]) == [1, 1]
    for release in (_Release(kinds=10), _Release(cache=26), _Release(kinds=10, cache=24, more=30)):
        with pytest.raises(LlamaError, match="at another place"):
            context_parameters(release, 256, 512, 4, exact=True)


def test_a_folder_of_the_package_is_found_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"
    folder.mkdir(parents=True)
    (folder / "libllama.v0.5.0.so").touch()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.delenv(PLACE, raising=False)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert os.path.samefile(library_file(), folder / "libllama.v0.5.0.so")
