"""Compiled layers are the plain ones: values and gradients, for widths and lengths that fill no vector and no block."""

import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from moelaws.config import ModelConfig, TrainConfig
from moelaws.kernels import calls, compilation, heads, mixing, networks, next_token, softmax_router
from moelaws.models import Transformer
from moelaws.models.compiled_layers import next_token_losses
from moelaws.models.experts import experts_by_group, experts_by_loop
from moelaws.models.product import compiles, plain_layers, uncompiled_layers
from moelaws.training.step import TrainingStep

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ModelConfig(vocab_size=96, d_model=32, n_layers=2, n_heads=2, d_ff=64, n_experts=8, top_k=2, context=48)
MODELS = {
    "experts": SMALL,
    "dense": replace(SMALL, n_experts=1, top_k=1),
    "no norm of queries": replace(SMALL, qk_norm=False, shared_experts=1),
    "odd": replace(SMALL, vocab_size=101, d_model=36, n_heads=3, d_ff=40, granularity=2, n_experts=5),
    "long": replace(SMALL, context=230, renormalize_top_k=True, top_k=3),
    "one head of 128": replace(SMALL, d_model=128, n_heads=1, d_ff=192, token_shift=True, tied_embeddings=False),
    "sigmoid": replace(SMALL, router_scores="sigmoid", moe_every=2),
}


def _objective(model: Transformer, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    loss, routers = model.loss(ids[:, :-1], ids[:, 1:])
    return loss, loss + sum(0.3 * router.load_balance + 0.2 * router.router_z for router in routers)  # type: ignore[return-value]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("sequences", [1, 5])
def test_the_compiled_layers_equal_the_plain_ones_forward_and_gradient(name: str, sequences: int) -> None:
    config = MODELS[name]
    model = Transformer(config, seed=2)
    ids = torch.randint(config.vocab_size, (sequences, config.context), generator=torch.Generator().manual_seed(0))
    assert compiles(model.embedding)

    def run() -> list[torch.Tensor]:
        loss, objective = _objective(model, ids)
        losses, routers = model.token_losses(ids[:, :-1], ids[:, 1:])
        seen = [routers[0].probs_TE, routers[0].load_E] if routers else []
        gradients = torch.autograd.grad(objective, list(model.parameters()))
        return [loss.detach(), losses, model(ids)[0].detach(), *seen, *gradients]

    found = run()
    for context in (plain_layers(), uncompiled_layers()):
        with context:
            expected = run()
        for ours, theirs in zip(found, expected, strict=True):  # fp32 sums in another order
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for ours, again in zip(found, run(), strict=True):
        assert torch.equal(ours, again)


def test_the_process_that_compiled_gets_the_same_bits_as_the_next(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    by_itself = "from moelaws.kernels import compilation; compilation._compile_elsewhere = lambda *_: False\n"
    first, second = (
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        for code in (by_itself + _BITS, _BITS)
    )
    assert first == second
    assert first
    assert len(list(tmp_path.rglob("*.ready"))) == 1


_BITS = """
import torch
from moelaws.kernels import calls, next_token
from moelaws.models.compiled_layers import next_token_losses
calls._KERNELS = (next_token.losses_and_slopes,)  # the others take as long again and show the same
torch.manual_seed(0)
x, w, targets = torch.randn(130, 36), torch.randn(101, 36), torch.randint(101, (130,))
by_x, by_w = torch.empty_like(x), torch.empty_like(w)
losses = next_token_losses(x, w, targets, by_x, by_w)
print([float(t.double().sum()) for t in (losses, by_x, by_w, by_x ** 2, by_w ** 2)])
"""


@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize(("tokens", "experts"), [(1, 4), (7, 4), (500, 3), (200, 32), (5, 64)])
def test_the_compiled_dispatch_equals_the_loop_forward_and_gradient(tokens: int, experts: int, top_k: int) -> None:
    generator = torch.Generator().manual_seed(tokens + experts + top_k)
    ids_TK = torch.stack([torch.randperm(experts, generator=generator)[:top_k] for _ in range(tokens)])
    shapes = (tokens, 20), (tokens, top_k), (experts, 20, 24), (experts, 12, 20), (tokens, 20)
    x, gates, w_in, w_out, by_out = (torch.randn(*shape, generator=generator) / 4 for shape in shapes)
    results = []
    for dispatch in (experts_by_loop, experts_by_group):
        inputs = [tensor.clone().requires_grad_() for tensor in (x, gates, w_in, w_out)]
        out = dispatch(inputs[0], inputs[1], ids_TK, inputs[2], inputs[3])
        results.append([out.detach(), *torch.autograd.grad(out, inputs, by_out)])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    idle = sorted(set(range(experts)) - set(ids_TK.flatten().tolist()))
    assert not results[1][3][idle].any()


@pytest.mark.parametrize("name", MODELS)
def test_what_is_not_a_number_is_not_hidden(name: str) -> None:
    ids = torch.randint(96, (2, 40), generator=torch.Generator().manual_seed(1))
    for number, (parameter, _) in enumerate(Transformer(MODELS[name]).named_parameters()):
        model = Transformer(MODELS[name])
        with torch.no_grad():
            model.get_parameter(parameter).view(-1)[-1 - number % 3] = (torch.nan, torch.inf)[number % 2]
        loss, objective = _objective(model, ids)
        gradients = torch.autograd.grad(objective, list(model.parameters()))
        norm = torch.nn.utils.get_total_norm(gradients)
        reached = parameter != "embedding" or bool((ids == 95).any())
        assert not (loss.isfinite() and norm.isfinite()) or not reached, parameter


def test_a_target_that_is_no_token_is_refused() -> None:
    x, w = torch.randn(4, 8), torch.randn(10, 8)
    for wrong in (-1, 10):
        with pytest.raises(IndexError, match="expected 0 to 9"):
            next_token_losses(x, w, torch.tensor([0, 1, 2, wrong]))


def test_steps_with_compiled_layers_learn_what_the_others_learn() -> None:
    ids = torch.randint(96, (4, 33), generator=torch.Generator().manual_seed(0))
    losses = []
    for context in (nullcontext(), uncompiled_layers()):
        take_step = TrainingStep(Transformer(SMALL, seed=1), TrainConfig())
        with context:
            losses.append([take_step(ids, 1e-2)[0] for _ in range(20)])
    assert losses[0][-1] < losses[0][0] - 1
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)


@pytest.mark.parametrize("width", [4, 24, 36, 64])
def test_kernels_stay_within_their_working_memory(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each working memory has a margin here, which must be as it was."""
    margin, seen = 256, []

    def with_margin(function: Any) -> Any:
        return lambda *sizes: function(*sizes) + margin

    for kernel in (mixing, networks, next_token, softmax_router):
        monkeypatch.setattr(kernel, "working_numbers", with_margin(kernel.working_numbers))
    call = calls.call

    def watched(kernel: Any, *arguments: Any) -> None:
        # The working memory is what is longer than all else that a kernel is given, or has a place of its own.
        names = kernel.__code__.co_varnames[: kernel.__code__.co_argcount]
        work = arguments[names.index("work")] if "work" in names else None
        if work is not None:
            work[-margin:] = 7
        call(kernel, *arguments)
        if work is not None:
            assert (work[-margin:] == 7).all(), kernel
            seen.append(kernel)

    monkeypatch.setattr("moelaws.models.compiled_layers.call", watched)
    for context in (1, 37, 200):
        config = replace(SMALL, d_model=width, n_heads=2, d_ff=3 * width, context=context, vocab_size=width + 13)
        ids = torch.randint(config.vocab_size, (3, context + 1), generator=torch.Generator().manual_seed(0))
        for model in (Transformer(config), Transformer(replace(config, n_experts=1, top_k=1))):
            _objective(model, ids)[1].backward()
    assert len(set(seen)) == 7
    assert heads.head_numbers(1, 2) > 0


def test_kernels_are_shared_out_whole_and_by_module() -> None:
    signatures = {kernel: "(int64)" for kernel in calls._KERNELS}
    shares = compilation._shares(signatures)
    modules = [{name.split(":")[0] for name in share} for share in shares]
    assert sum(map(len, shares)) == len(signatures)
    assert len(set().union(*modules)) == sum(map(len, modules))
