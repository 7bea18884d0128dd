"""How long a training step takes, and what of it is the price of routing, part by part."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from moelaws.allocator import keep_freed_memory
from moelaws.config import ModelConfig, TrainConfig
from moelaws.counting import count_parameters, training_flops_per_token
from moelaws.models import Transformer
from moelaws.models.experts import ExpertsLayer, FeedForward, experts_by_group, there_and_back
from moelaws.models.router import route
from moelaws.training.replay import ReplayedSteps
from moelaws.training.step import TrainingStep

PARTS = ("router", "gather", "products", "optimiser")
"""What a layer with experts takes longer for than a dense layer of the same work a token: choosing; bringing the rows
of each expert together, and back; many small products in place of one large; moving the experts that rest."""

_CPU_WARM_UP = 2  # rounds: memory taken, products prepared


@dataclass(frozen=True)
class StepTime:
    """One training step on one device, in milliseconds.

    Attributes:
        model: what was trained.
        tokens: of the batch.
        milliseconds: median of the whole step.
        low, high: its quartiles.
        useful_gflops: FLOPs a second that the model's forward and backward pass need, without what routing adds.
        dense: median step of the dense model of the same width and of the same work a token, by turns with it; the
            step itself for a dense model.
        parts: part of ``PARTS`` -> milliseconds more than in the dense model; empty for a dense model.
    """

    model: ModelConfig
    tokens: int
    milliseconds: float
    low: float
    high: float
    useful_gflops: float
    dense: float
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def rest(self) -> float:
        """What the step takes longer than the dense one and no part explains; below zero where parts overlap."""
        return self.milliseconds - self.dense - sum(self.parts.values())

    def row(self) -> dict[str, object]:
        """The same as columns of a table: one row."""
        model = self.model
        return {
            "d_model": model.d_model, "n_layers": model.n_layers, "n_experts": model.n_experts, "top_k": model.top_k,
            "granularity": model.granularity, "total_params": count_parameters(model).total,
            "active_params": count_parameters(model).active, "tokens": self.tokens,
            "step_ms": self.milliseconds, "step_ms_low": self.low, "step_ms_high": self.high,
            "useful_gflops": self.useful_gflops, "dense_step_ms": self.dense,
            **{f"{part}_ms": self.parts.get(part, 0.0) for part in PARTS},
        }  # fmt: skip


def step_time(model: ModelConfig, tokens: int, device: str = "cpu", repeats: int = 9) -> StepTime:
    """Measure a training step, as ``train`` makes it: forward, backward, clipping and AdamW.

    On a GPU a step is replayed from a graph, in bf16, and timed by the wall; on a CPU it is fp32 of one thread, in
    seconds of the processor. The step, the dense model's and each part are measured by turns, so that a machine that
    is slower for a while is so for all of them; a difference is the median of differences within a turn.

    Args:
        model: what to train; its experts get their tokens at random, as evenly as a trained router's do.
        tokens: of a batch; rounded down to whole sequences, at least one.
        device: ``cpu`` or ``cuda``.
        repeats: turns, after some that do not count.

    Returns:
        The whole step and the price of routing. Parts are timed by themselves, forward and backward, and do not
        overlap; what they leave unexplained is ``rest``.
    """
    place = torch.device(device)
    if place.type == "cpu":
        keep_freed_memory()
    sequences = max(1, tokens // model.context)
    tokens = sequences * model.context
    with _quiet(place), _one_thread():
        works = {"step": _whole(model, sequences, place)}
        if model.is_moe:
            active = _active(model)
            works |= {"dense": _whole(active, sequences, place), **_pieces(model, active, tokens, place)}
        took = _by_turns(works, place, repeats)
    low, middle, high = (float(q) for q in np.quantile(took["step"], [0.25, 0.5, 0.75]))
    useful = tokens * training_flops_per_token(model, "exact") / middle
    layers = sum(model.has_experts(layer) for layer in range(model.n_layers))
    dense, parts = (float(np.median(took["dense"])), _parts(took, layers)) if model.is_moe else (middle, {})
    return StepTime(model, tokens, middle, low, high, useful / 1e6, dense, parts)


def _active(model: ModelConfig) -> ModelConfig:
    """The dense model of the same width and of the same work a token."""
    return replace(model, n_experts=1, top_k=1, granularity=1, d_ff=model.top_k * model.d_expert)


def _quiet(place: torch.device) -> "torch.cuda.StreamContext | nullcontext[None]":
    """On a GPU, a stream that graphs can be recorded on."""
    return torch.cuda.stream(torch.cuda.Stream(place)) if place.type == "cuda" else nullcontext()


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Work:
    """Something to time.

    Attributes:
        do: does it.
        times: how often, at a call.
    """

    do: Callable[[], object]
    times: int = 1


def _whole(model: ModelConfig, sequences: int, place: torch.device) -> _Work:
    """Whole steps."""
    take_step = TrainingStep(Transformer(model, seed=0).to(place), TrainConfig())
    shape = sequences, model.context + 1
    ids = np.random.default_rng(0).integers(model.vocab_size, size=shape)
    if place.type != "cuda":
        windows = torch.from_numpy(ids)
        return _Work(lambda: take_step(windows, 1e-4))
    replayed = ReplayedSteps(take_step, shape, place, length=16)
    batches, rates = [ids] * replayed.length, [1e-4] * replayed.length
    return _Work(lambda: replayed(batches, rates), replayed.length)


def _pieces(model: ModelConfig, active: ModelConfig, tokens: int, place: torch.device) -> dict[str, _Work]:
    """What the parts are differences of, each for one layer, and the optimisers of both models."""
    x_TD = torch.randn(tokens, model.d_model, device=place)
    experts, dense = ExpertsLayer(model).to(place), FeedForward(model.d_model, active.d_ff).to(place)
    for parameter in (*experts.parameters(), *dense.parameters()):
        torch.nn.init.normal_(parameter, std=0.05)
    ids_TK = _choices(tokens, model, place)
    gates_TK = torch.full(ids_TK.shape, 1 / model.top_k, device=place)

    def router(x: Tensor) -> Tensor:
        gates, chosen = route(x, experts.router, model.top_k, model.renormalize_top_k, scores=model.router_scores)
        return gates.sum() + chosen.load_balance + chosen.router_z

    def routed(x: Tensor) -> Tensor:
        return experts_by_group(x, gates_TK, ids_TK, experts.w_in, experts.w_out)

    def gather(x: Tensor) -> Tensor:
        return there_and_back(x, ids_TK, experts.w_in)

    return {
        "bare": _differentiated(lambda x: x.view_as(x), x_TD, place),
        "router": _differentiated(router, x_TD, place),
        "gather": _differentiated(gather, x_TD, place),
        "routed": _differentiated(routed, x_TD, place),
        "feed_forward": _differentiated(lambda x: dense(x)[0], x_TD, place),
        "optimiser": _optimising(model, place),
        "dense_optimiser": _optimising(active, place),
    }


def _parts(took: Mapping[str, np.ndarray], layers: int) -> dict[str, float]:
    """The price part by part, all layers with experts together; what a pass takes that does nothing is taken off."""
    timed = ("router", "gather", "routed", "feed_forward")
    router, gather, routed, dense = (took[name] - took["bare"] for name in timed)
    per_layer = {"router": router, "gather": gather, "products": routed - gather - dense}
    return {part: layers * float(np.median(each)) for part, each in per_layer.items()} | {
        "optimiser": float(np.median(took["optimiser"] - took["dense_optimiser"]))
    }


def _choices(tokens: int, model: ModelConfig, place: torch.device) -> Tensor:
    """K different experts for each token, at random."""
    order = np.random.default_rng(0).random((tokens, model.n_experts)).argsort(1)[:, : model.top_k]
    return torch.from_numpy(np.ascontiguousarray(order)).to(place)


def _differentiated(work: Callable[[Tensor], Tensor], x_TD: Tensor, place: torch.device) -> _Work:
    """Forward and backward pass of a part, by its input and what weights it has."""
    autocast = torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda")

    def both() -> None:
        x = x_TD.detach().requires_grad_()
        with autocast:
            y = work(x)
        y.backward(torch.ones_like(y))

    return _Work(_recorded(both, place))


def _optimising(model: ModelConfig, place: torch.device) -> _Work:
    """AdamW and clipping."""
    network = Transformer(model, seed=0).to(place)
    optimiser = TrainingStep(network, TrainConfig()).optimiser
    parameters = list(network.parameters())
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 1e-3)
    rate = torch.full((), 1e-4, device=place)

    def work() -> None:
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        # On a CPU a step scales only gradients that are too long, which few are.
        if place.type == "cuda" or norm > 1e6:
            torch.nn.utils.clip_grads_with_norm_(parameters, 1.0, norm)
        optimiser.step(rate if place.type == "cuda" else None)

    return _Work(_recorded(work, place))


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


def _by_turns(works: Mapping[str, _Work], place: torch.device, repeats: int) -> dict[str, np.ndarray]:
    """Milliseconds of several works, each once in every turn.

    On a CPU they are the processor's, which other programs do not lengthen as they do the wall's.
    """
    on_gpu = place.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    spare = repeats if on_gpu else _CPU_WARM_UP
    took: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(spare + repeats):
        for name, work in works.items():
            begin = clock()
            work.do()
            if on_gpu:
                torch.cuda.synchronize(place)
            took[name].append(1e3 * (clock() - begin) / work.times)
    return {name: np.array(times[spare:]) for name, times in took.items()}
