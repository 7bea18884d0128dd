"""How long a training step takes, and what of it is the price of routing, part by part."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from moelaws.config import ModelConfig, TrainConfig
from moelaws.counting import count_parameters, training_flops_per_token
from moelaws.models import Transformer
from moelaws.models.experts import ExpertsLayer, FeedForward, experts_by_group
from moelaws.models.router import route
from moelaws.training.replay import ReplayedSteps
from moelaws.training.step import TrainingStep

PARTS = ("router", "gather", "products", "optimiser")
"""What a layer with experts takes longer for than a dense layer of the same work a token: choosing; bringing the rows
of each expert together, and back; many small products in place of one large; moving the experts that rest."""


@dataclass(frozen=True)
class StepTime:
    """One training step on one device, in milliseconds.

    Attributes:
        model: what was trained.
        tokens: of the batch.
        milliseconds: median of the whole step.
        low, high: its quartiles.
        useful_gflops: FLOPs a second that the model's forward and backward pass need, without what routing adds.
        parts: part of ``PARTS`` -> milliseconds more than in the dense model; empty for a dense model.
    """

    model: ModelConfig
    tokens: int
    milliseconds: float
    low: float
    high: float
    useful_gflops: float
    parts: dict[str, float]

    def row(self) -> dict[str, object]:
        """The same as columns of a table: one row."""
        model = self.model
        return {
            "d_model": model.d_model, "n_layers": model.n_layers, "n_experts": model.n_experts, "top_k": model.top_k,
            "granularity": model.granularity, "total_params": count_parameters(model).total,
            "active_params": count_parameters(model).active, "tokens": self.tokens,
            "step_ms": self.milliseconds, "step_ms_low": self.low, "step_ms_high": self.high,
            "useful_gflops": self.useful_gflops, **{f"{part}_ms": self.parts.get(part, 0.0) for part in PARTS},
        }  # fmt: skip


def step_time(model: ModelConfig, tokens: int, device: str = "cpu", repeats: int = 9) -> StepTime:
    """Measure a training step, as ``train`` makes it: forward, backward, clipping and AdamW.

    On a GPU a step is replayed from a graph, in bf16, and timed by the wall; on a CPU it is fp32 of one thread, in
    seconds of the processor.

    Args:
        model: what to train; its experts get their tokens at random, as evenly as a trained router's do.
        tokens: of a batch; rounded down to whole sequences, at least one.
        device: ``cpu`` or ``cuda``.
        repeats: of each measurement, after as many that do not count.

    Returns:
        The whole step and the price of routing. Parts are timed by themselves, forward and backward, and do not
        overlap; what they leave unexplained is what they share with the rest of the step.
    """
    place = torch.device(device)
    sequences = max(1, tokens // model.context)
    with _quiet(place):
        taken = _whole(model, sequences, place, repeats)
        parts = _parts(model, sequences * model.context, place, repeats) if model.is_moe else {}
    low, middle, high = (float(q) for q in np.quantile(taken, [0.25, 0.5, 0.75]))
    useful = sequences * model.context * training_flops_per_token(model, "exact") / middle
    return StepTime(model, sequences * model.context, middle, low, high, useful / 1e6, parts)


def _quiet(place: torch.device) -> "torch.cuda.StreamContext | nullcontext[None]":
    """On a GPU, a stream that graphs can be recorded on."""
    return torch.cuda.stream(torch.cuda.Stream(place)) if place.type == "cuda" else nullcontext()


def _whole(model: ModelConfig, sequences: int, place: torch.device, repeats: int) -> list[float]:
    """Milliseconds of whole steps."""
    take_step = TrainingStep(Transformer(model, seed=0).to(place), TrainConfig())
    shape = sequences, model.context + 1
    ids = np.random.default_rng(0).integers(model.vocab_size, size=shape)
    if place.type != "cuda":
        windows = torch.from_numpy(ids)
        return _clocked(lambda: take_step(windows, 1e-4), place, repeats)
    replayed = ReplayedSteps(take_step, shape, place, length=16)
    batches, rates = [ids] * replayed.length, [1e-4] * replayed.length
    return [taken / replayed.length for taken in _clocked(lambda: replayed(batches, rates), place, repeats)]


def _parts(model: ModelConfig, tokens: int, place: torch.device, repeats: int) -> dict[str, float]:
    """Milliseconds of each part of the price, all layers with experts together."""
    layers = sum(model.has_experts(layer) for layer in range(model.n_layers))
    active = replace(model, n_experts=1, top_k=1, granularity=1, d_ff=model.top_k * model.d_expert)
    x_TD = torch.randn(tokens, model.d_model, device=place)
    experts, dense = ExpertsLayer(model).to(place), FeedForward(model.d_model, active.d_ff).to(place)
    for parameter in (*experts.parameters(), *dense.parameters()):
        torch.nn.init.normal_(parameter, std=0.05)
    ids_TK = _choices(tokens, model, place)
    gates_TK = torch.full(ids_TK.shape, 1 / model.top_k, device=place)

    def timed(work: Callable[[Tensor], Tensor]) -> float:
        return statistics.median(_clocked(_recorded(_differentiated(work, x_TD, place), place), place, repeats))

    def router(x: Tensor) -> Tensor:
        gates, chosen = route(x, experts.router, model.top_k, model.renormalize_top_k, scores=model.router_scores)
        return gates.sum() + chosen.load_balance + chosen.router_z

    def routed(x: Tensor) -> Tensor:
        return experts_by_group(x, gates_TK, ids_TK, experts.w_in, experts.w_out)

    choosing, gathering = timed(router), timed(lambda x: _gathered(x, ids_TK))
    products = timed(routed) - gathering - timed(lambda x: dense(x)[0])
    return {
        "router": layers * choosing,
        "gather": layers * gathering,
        "products": layers * products,
        "optimiser": _optimising(model, place, repeats) - _optimising(active, place, repeats),
    }


def _choices(tokens: int, model: ModelConfig, place: torch.device) -> Tensor:
    """K different experts for each token, at random."""
    order = np.random.default_rng(0).random((tokens, model.n_experts)).argsort(1)[:, : model.top_k]
    return torch.from_numpy(order).to(place)


def _gathered(x_TD: Tensor, ids_TK: Tensor) -> Tensor:
    """Rows brought together by expert, and back, with nothing between."""
    tokens, top_k = ids_TK.shape
    _, order_M = ids_TK.flatten().sort(stable=True)
    rows_MD = x_TD.index_select(0, order_M // top_k)
    place_M = torch.empty_like(order_M)
    place_M[order_M] = torch.arange(order_M.numel(), device=x_TD.device)
    return rows_MD.index_select(0, place_M).view(tokens, top_k, -1).sum(1)


def _differentiated(work: Callable[[Tensor], Tensor], x_TD: Tensor, place: torch.device) -> Callable[[], object]:
    """Forward and backward pass of a part, by its input and what weights it has."""
    autocast = torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda")

    def both() -> None:
        x = x_TD.detach().requires_grad_()
        with autocast:
            y = work(x)
        y.backward(torch.ones_like(y))

    return both


def _optimising(model: ModelConfig, place: torch.device, repeats: int) -> float:
    """Milliseconds of AdamW and clipping."""
    network = Transformer(model, seed=0).to(place)
    optimiser = TrainingStep(network, TrainConfig()).optimiser
    parameters = list(network.parameters())
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 1e-3)
    rate = torch.full((), 1e-4, device=place)

    def work() -> None:
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        torch.nn.utils.clip_grads_with_norm_(parameters, 1.0, norm)
        optimiser.step(rate if place.type == "cuda" else None)

    return statistics.median(_clocked(_recorded(work, place), place, repeats))


def _recorded(work: Callable[[], object], place: torch.device) -> Callable[[], object]:
    """The same work, on a GPU as a graph: without what starting it from Python takes."""
    if place.type != "cuda":
        return work
    for _ in range(3):
        work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        work()
    return graph.replay


def _clocked(work: Callable[[], object], place: torch.device, repeats: int) -> list[float]:
    """Milliseconds of some work, again and again, after as many times that do not count.

    On a CPU they are the processor's, which other programs do not lengthen as they do the wall's.
    """
    clock = time.perf_counter if place.type == "cuda" else time.process_time

    def times() -> Iterator[float]:
        for _ in range(2 * repeats):
            begin = clock()
            work()
            if place.type == "cuda":
                torch.cuda.synchronize(place)
            yield 1e3 * (clock() - begin)

    return list(times())[repeats:]
