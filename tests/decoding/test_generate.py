"""Decoding with a cache: the uncached model's logits, transformers' tokens, and each request as if it were alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from moelaws.config import ModelConfig
from moelaws.decoding.cache import CacheError
from moelaws.decoding.decoder import Decoder
from moelaws.decoding.generate import generate
from moelaws.decoding.matrix import Matrix, matrix
from moelaws.decoding.sampling import Sampling, choose
from moelaws.decoding.visits import experts_by_visit
from moelaws.models import ExpertsLayer, Transformer
from moelaws.models.checkpoint import load_checkpoint, save_checkpoint
from moelaws.models.experts import experts_by_loop
from moelaws.models.router import SCORES

SMALL = ModelConfig(vocab_size=96, d_model=32, n_layers=2, n_heads=2, d_ff=64, n_experts=8, top_k=2, context=64)
EXPRESSIBLE = {
    "dense": replace(SMALL, n_experts=1, top_k=1),
    "K = 1": replace(SMALL, top_k=1),
    "K = 2": SMALL,
    "K = 2, renormalised": replace(SMALL, renormalize_top_k=True),
    "G = 2, untied": replace(SMALL, granularity=2, tied_embeddings=False),
}
MODELS = EXPRESSIBLE | {
    "shared": replace(SMALL, shared_experts=1),
    "every other layer": replace(SMALL, moe_every=2),
    "no QK-norm": replace(SMALL, qk_norm=False),
    "token shift": replace(SMALL, token_shift=True),
    **{f"{scores}, K = 1": replace(SMALL, router_scores=scores, top_k=1) for scores in SCORES},
    **{
        f"{scores}, K = 3, renormalised": replace(SMALL, router_scores=scores, top_k=3, renormalize_top_k=True)
        for scores in SCORES
    },
}
PROMPTS = [[5, 17, 80, 3, 3, 9, 41], [7], [90, 2, 55, 1]]


def _model(config: ModelConfig, seed: int = 3) -> Transformer:
    """Weights with gains and balance biases that are not at their first values."""
    model = Transformer(config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gain"):
                parameter.copy_(1 + 0.5 * torch.rand(parameter.shape, generator=generator))
    return model


def _ids(batch: int = 3, time: int = 40) -> torch.Tensor:
    return torch.randint(96, (batch, time), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
def test_every_step_has_the_uncached_logits(config: ModelConfig) -> None:
    model, ids_BT = _model(config), _ids()
    with torch.no_grad():
        expected_BTV = model(ids_BT)[0]
    decoder = Decoder(model)
    logits_BV, cache = decoder.prefill(ids_BT[:, :10], room=30)
    errors = [(logits_BV - expected_BTV[:, 9]).abs().max()]
    logits_BV = decoder.extend(cache, ids_BT[:, 10:16])  # several tokens onto a filled cache
    errors.append((logits_BV - expected_BTV[:, 15]).abs().max())
    for t in range(16, 40):
        logits_BV = decoder.extend(cache, ids_BT[:, t : t + 1])
        errors.append((logits_BV - expected_BTV[:, t]).abs().max())
    assert max(errors) <= 1e-4
    assert expected_BTV.std() > 0.1


def test_a_decoder_keeps_its_weights() -> None:
    model, ids_BT = _model(SMALL), _ids()
    decoder = Decoder(model)
    before_BV, _ = decoder.prefill(ids_BT, room=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    after_BV, _ = decoder.prefill(ids_BT, room=0)
    assert torch.equal(after_BV, before_BV)


def test_a_large_batch_takes_the_planned_dispatch_to_the_same_logits() -> None:
    model, ids_BT = _model(SMALL), _ids(batch=300, time=3)
    with torch.no_grad():
        expected_BTV = model(ids_BT)[0]
    logits_BV, cache = Decoder(model).prefill(ids_BT[:, :2], room=1)
    assert (logits_BV - expected_BTV[:, 1]).abs().max() <= 1e-4
    assert (Decoder(model).extend(cache, ids_BT[:, 2:]) - expected_BTV[:, 2]).abs().max() <= 1e-4


def test_balance_biases_choose_and_do_not_weight() -> None:
    model = _model(SMALL)
    for block in model.blocks:
        assert isinstance(block.experts, ExpertsLayer)
        block.experts.balance_bias += torch.linspace(-0.3, 0.3, SMALL.n_experts)
    with torch.no_grad():
        expected_BTV = model(_ids())[0]
    _, cache = Decoder(model).prefill(_ids()[:, :39], room=1)
    assert (Decoder(model).extend(cache, _ids()[:, 39:]) - expected_BTV[:, 39]).abs().max() <= 1e-4


@pytest.mark.parametrize("tokens", [1, 2, 40])
@pytest.mark.parametrize("top_k", [1, 3])
def test_visiting_experts_equals_the_definition(tokens: int, top_k: int) -> None:
    generator = torch.Generator().manual_seed(tokens)
    x_TD, gates_TK = torch.randn(tokens, 16, generator=generator), torch.rand(tokens, top_k, generator=generator)
    ids_TK = torch.rand(tokens, 8, generator=generator).topk(top_k).indices
    w_in, w_out = torch.randn(8, 16, 24, generator=generator), torch.randn(8, 12, 16, generator=generator)
    expected_TD = experts_by_loop(x_TD, gates_TK, ids_TK, w_in, w_out)
    before = x_TD.clone()
    ready = [[matrix(w) for w in weights] for weights in (w_in, w_out)]
    for many in (1, 1_000):  # the products of many rows, and those of few
        matrices = [[Matrix(w.plain_KN, w.packed, many) for w in weights] for weights in ready]
        assert torch.allclose(experts_by_visit(x_TD, gates_TK, ids_TK, *matrices), expected_TD, atol=1e-4)
    assert torch.equal(x_TD, before)


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
def test_a_ragged_batch_is_every_request_alone(config: ModelConfig) -> None:
    model = _model(config)
    together = generate(model, PROMPTS, 20)
    assert together.tokens == [generate(model, [prompt], 20).tokens[0] for prompt in PROMPTS]
    logits_BV, _ = Decoder(model).prefill(PROMPTS, room=0)
    for prompt, logits_V in zip(PROMPTS, logits_BV, strict=True):
        with torch.no_grad():
            expected_V = model(torch.tensor([prompt]))[0][0, -1]
        assert (logits_V - expected_V).abs().max() <= 1e-4


@pytest.mark.parametrize("config", EXPRESSIBLE.values(), ids=EXPRESSIBLE.keys())
def test_greedy_tokens_are_those_of_transformers(transformers: Any, config: ModelConfig, tmp_path: Path) -> None:
    save_checkpoint(_model(config), tmp_path)
    theirs = transformers.OlmoeForCausalLM.from_pretrained(tmp_path).eval()
    theirs.generation_config.eos_token_id = None
    longest = max(map(len, PROMPTS))
    padded = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in PROMPTS])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS])
    expected = theirs.generate(padded, attention_mask=mask, max_new_tokens=40, do_sample=False, pad_token_id=0)
    found = generate(load_checkpoint(tmp_path), PROMPTS, 40)
    assert found.tokens == expected[:, longest:].tolist()
    assert len({token for row in found.tokens for token in row}) > 2


def test_a_stop_token_ends_a_request_and_not_the_others() -> None:
    model = _model(SMALL)
    free = generate(model, PROMPTS, 20).tokens
    stop = free[0][4]
    ended = generate(model, PROMPTS, 20, stop=stop)
    for row, tokens, stopped in zip(free, ended.tokens, ended.stopped, strict=True):
        assert stopped == (stop in row)
        assert tokens == (row[: row.index(stop) + 1] if stopped else row)
    assert generate(model, PROMPTS[:1], 20, stop=stop).steps == free[0].index(stop) + 1


def test_draws_follow_seed_and_request_alone() -> None:
    model = _model(SMALL)
    warm = Sampling(temperature=1.0, top_p=0.9, seed=4)
    first = generate(model, PROMPTS, 15, warm)
    assert generate(model, PROMPTS, 15, warm) == first
    assert generate(model, PROMPTS[:2], 15, warm).tokens == first.tokens[:2]
    assert generate(model, PROMPTS, 15, replace(warm, seed=5)).tokens != first.tokens
    assert generate(model, PROMPTS, 15, Sampling(temperature=1e-3)).tokens == generate(model, PROMPTS, 15).tokens


def test_draws_have_the_probabilities_of_the_nucleus() -> None:
    probs_V = torch.tensor([0.05, 0.5, 0.15, 0.3])
    draws = (torch.arange(20_000) + 0.5) / 20_000
    logits_BV = probs_V.log().expand(len(draws), -1)

    def shares(sampling: Sampling) -> torch.Tensor:
        return torch.bincount(choose(logits_BV, sampling, draws), minlength=4) / len(draws)

    assert torch.allclose(shares(Sampling(1.0)), probs_V, atol=1e-3)
    # 0.5 + 0.3 do not reach 0.85: the third token is needed, the fourth is not.
    assert torch.allclose(shares(Sampling(1.0, top_p=0.85)), torch.tensor([0, 0.5, 0.15, 0.3]) / 0.95, atol=1e-3)
    assert torch.allclose(shares(Sampling(1.0, top_p=0.1)), torch.tensor([0.0, 1, 0, 0]))
    assert torch.allclose(shares(Sampling(0.5)), probs_V**2 / (probs_V**2).sum(), atol=1e-3)


def test_experts_chosen_are_reported_and_can_be_forced() -> None:
    model, ids_BT = _model(SMALL), _ids()
    with torch.no_grad():
        statistics = model(ids_BT)[1]
    decoder = Decoder(model)
    routes: list[torch.Tensor] = []
    logits_BV, _ = decoder.prefill(ids_BT, room=0, routes=routes)
    for layer, ids_RK in zip(statistics, routes, strict=True):
        assert torch.equal(layer.ids_TK.sort().values, ids_RK.sort().values)
    same_BV, _ = decoder.prefill(ids_BT, room=0, forced=routes)
    assert torch.allclose(same_BV, logits_BV, atol=1e-5)
    other_BV, _ = decoder.prefill(ids_BT, room=0, forced=[(ids_RK + 1) % 8 for ids_RK in routes])
    assert (other_BV - logits_BV).abs().max() > 0.1


def test_impossible_requests_are_refused_by_name() -> None:
    model = _model(SMALL)
    for prompts, new_tokens, message in (
        ([], 3, "at least one"),
        ([[1], []], 3, "prompt 1 is empty"),
        ([[1, 96]], 3, "token 96: expected 0 to 95"),
        ([[1]], 0, "new_tokens = 0"),
    ):
        with pytest.raises(ValueError, match=message):
            generate(model, prompts, new_tokens)
    for values, message in (((-1.0,), "temperature"), ((1.0, 0.0), "top_p"), ((1.0, 1.0, -1), "seed")):
        with pytest.raises(ValueError, match=message):
            Sampling(*values)
    with pytest.raises(ValueError, match="a draw for every request"):
        choose(torch.zeros(1, 4), Sampling(1.0))
    decoder = Decoder(model)
    _, cache = decoder.prefill(PROMPTS, room=1)
    decoder.extend(cache, torch.ones(3, 1, dtype=torch.long))
    with pytest.raises(CacheError, match="8 columns, 8 are filled and 1 more"):
        decoder.extend(cache, torch.ones(3, 1, dtype=torch.long))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_finds_the_same_tokens() -> None:
    model = _model(SMALL)
    expected = generate(model, PROMPTS, 20).tokens
    assert generate(model.to("cuda"), PROMPTS, 20).tokens == expected
