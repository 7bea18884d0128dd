"""One training run: a frozen configuration in, a trained model and its measured result out."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch

from moelaws.allocator import keep_freed_memory
from moelaws.available_memory import require_memory
from moelaws.config import ConfigError, RunConfig, TrainConfig
from moelaws.counting import count_parameters, training_flops_per_token
from moelaws.models import Transformer
from moelaws.reshape.upcycle import copy_dense
from moelaws.text.batches import Windows
from moelaws.text.text import Text
from moelaws.training.replay import ReplayedSteps
from moelaws.training.saving import Saving
from moelaws.training.state import RunState
from moelaws.training.step import TrainingStep
from moelaws.training.validation import Validation, validate

# FLOPs of a run from which a GPU compiles the model, which takes it a minute.
_COMPILE_FROM = 1e16
# A loss of three times that of a uniform guess does not come back.
_EXPLODED = 3.0

OnStep = Callable[[int, int, float], None] | None
"""What is called after each step with (step, steps, loss)."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run produced.

    Attributes:
        run: its configuration.
        model: the model after the last step.
        status: ``finished``, or ``diverged`` when the loss or the gradient was not finite or the loss exploded.
        reason: why it diverged, with the step; empty otherwise.
        validation: the result on held-out text; ``None`` for a diverged run.
        train_loss: training cross-entropy after each step, nats per token.
        training_seconds: wall time of the steps, those before a kill included.
        seconds: wall time in all, validation included.
        threads: torch threads used.
        device: ``cpu``, or the name of the CUDA device.
    """

    run: RunConfig
    model: Transformer
    status: str
    reason: str
    validation: Validation | None
    train_loss: tuple[float, ...]
    training_seconds: float
    seconds: float
    threads: int
    device: str


def train(
    run: RunConfig,
    text: Text,
    device: str = "auto",
    threads: int = 1,
    on_step: OnStep = None,
    saving: Saving | None = None,
) -> TrainingResult:
    """Train one model and validate it. The same run, machine and thread count give the same bits.

    A run that saves its state may be killed: trained again, it goes on from there, and gives the same bits as well.

    Args:
        run: what to train.
        text: what to read, in the model's vocabulary.
        device: ``auto`` (CUDA where there is one), ``cpu`` or ``cuda``.
        threads: torch threads on the CPU. One is fastest for models this small; run several processes instead.
        on_step: called after each step with (step, steps, loss), on a GPU after many; first for those of the dense
            model that the run starts from, if it does.
        saving: where a run of several minutes saves its state, and how often; if not given, it does not.

    Returns:
        The trained model and its result.

    Raises:
        ConfigError: the model's vocabulary is not the corpus's, the corpus is not the one the run names, or the run
            starts from a dense model of which its experts cannot be copies.
        CorpusError: the text is too short for one batch.
        TooLargeError: the run does not fit the memory.

    Examples:
        >>> from moelaws.config import ModelConfig, TrainConfig
        >>> from moelaws.text.text import load_text
        >>> text = load_text("zipf-markov:V=32")
        >>> config = ModelConfig(vocab_size=32, d_model=16, n_layers=1, n_heads=2, d_ff=32, context=32)
        >>> run = RunConfig(config, TrainConfig(tokens=2048, batch_sequences=4))
        >>> result = train(run, text, device="cpu")
        >>> result.status, len(result.train_loss) == run.steps
        ('finished', True)
    """
    _check(run, text)
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if place.type == "cpu":
        require_memory(_least_bytes(run), f"a training step of {count_parameters(run.model).total:.3g} parameters")
    keep_freed_memory()
    with _threads(threads), _whole_arithmetic(), _stream(place):
        state = RunState(run, text.sha256, place, saving)
        model = Transformer(run.model, seed=run.train.seed).to(place)
        losses, reason = _steps(model, run, text, on_step, state)
        state.forget_start()
        training_seconds = state.seconds
        validation = None if reason else validate(model, text, run.train.validation_tokens)
        if validation is not None and not math.isfinite(validation.loss):
            reason, validation = "validation loss is not finite", None
        return TrainingResult(
            run=run,
            model=model,
            status="diverged" if reason else "finished",
            reason=reason,
            validation=validation,
            train_loss=tuple(losses),
            training_seconds=training_seconds,
            seconds=state.seconds,
            threads=torch.get_num_threads(),
            device="cpu" if place.type == "cpu" else torch.cuda.get_device_name(place),
        )


def learning_rate_at(step: int, steps: int, config: TrainConfig) -> float:
    """Learning rate of a step: linear warm-up from zero, then a cosine down to the final share of the peak.

    Args:
        step: 0 for the first step.
        steps: steps of the run.
        config: peak, warm-up and final share.
    """
    warmup = max(1, round(config.warmup_fraction * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step + 1 - warmup) / max(1, steps - warmup)
    floor = config.final_lr_fraction
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def _start(run: RunConfig, text: Text, state: RunState, on_step: OnStep) -> tuple[Transformer, str]:
    """The dense model that a run starts from, and why it diverged, if it did.

    Runs of a sweep that share it train it once a process.
    """
    key = run.run_id, text.sha256, str(state.place), torch.get_num_threads()
    if key not in _STARTS:
        model = Transformer(run.model, seed=run.train.seed).to(state.place)
        _, reason = _steps(model, run, text, on_step, state.of(run))
        while len(_STARTS) >= _MOST_STARTS:
            del _STARTS[next(iter(_STARTS))]
        _STARTS[key] = model, reason
    return _STARTS[key]


_STARTS: dict[tuple[str, str, str, int], tuple[Transformer, str]] = {}
_MOST_STARTS = 8


def _least_bytes(run: RunConfig) -> int:
    """Memory that a run takes at least: weights, gradients, two moments in fp32, and what the backward pass needs."""
    model = run.model
    kept_by_token = model.n_layers * (8 * model.d_model + 3 * model.top_k * model.d_expert)
    return 16 * count_parameters(model).total + 4 * run.batch_tokens * kept_by_token


def _check(run: RunConfig, text: Text) -> None:
    if run.model.vocab_size != text.vocab_size:
        raise ConfigError(
            f"vocab_size = {run.model.vocab_size}: expected {text.vocab_size}, the vocabulary of {text.name}"
        )
    if run.corpus_sha256 and run.corpus_sha256 != text.sha256:
        raise ConfigError(f"corpus_sha256 = {run.corpus_sha256!r}: {text.name} has {text.sha256!r}")
    text.require(run.train.batch_sequences, run.model.context)


def _steps(model: Transformer, run: RunConfig, text: Text, on_step: OnStep, state: RunState) -> tuple[list[float], str]:
    """Run the optimiser from where the run was left; returns the losses and, if the run diverged, why."""
    config, steps = run.train, run.steps
    flops = training_flops_per_token(run.model) * steps * run.batch_tokens
    compiled = flops > _COMPILE_FROM
    take_step = TrainingStep(model, config, compiled=compiled)
    losses = state.load(model, take_step.optimiser)
    start = run.start
    if start is not None and not losses:
        began = time.perf_counter()
        dense, reason = _start(start, text, state, on_step)
        if reason:
            return losses, f"the dense model that it starts from, {reason}"
        copy_dense(dense, model, config.copy_noise, config.seed)
        state.leave_out(time.perf_counter() - began)
    batches = text.batches(config.batch_sequences, run.model.context, config.seed)
    batches = islice(batches, len(losses) + (start.steps if start is not None else 0), None)
    advance = _advance(take_step, run, state.place, compiled)
    while len(losses) < steps:
        numbers = range(len(losses), min(len(losses) + advance.length, steps))
        rates = [learning_rate_at(step, steps, config) for step in numbers]
        for step, loss, norm in zip(numbers, *advance(list(islice(batches, len(numbers))), rates), strict=True):
            losses.append(loss)
            problem = _problem(loss, norm, run.model.vocab_size)
            if problem:
                return losses, f"step {step + 1} of {steps}: {problem}"
        state.save(model, take_step.optimiser, losses)
        if on_step is not None:
            on_step(len(losses), steps, losses[-1])
    return losses, ""


class _OneByOne:
    """Steps that the host waits for, one at a call."""

    length = 1

    def __init__(self, take_step: TrainingStep) -> None:
        self._take_step = take_step

    def __call__(self, batches: Sequence[Windows], rates: Sequence[float]) -> tuple[list[float], list[float]]:
        pairs = [self._take_step(torch.from_numpy(ids), rate) for ids, rate in zip(batches, rates, strict=True)]
        return [loss for loss, _ in pairs], [norm for _, norm in pairs]


def _advance(take_step: TrainingStep, run: RunConfig, place: torch.device, compiled: bool) -> ReplayedSteps | _OneByOne:
    """Many steps at a call where a GPU can be given them as a graph, else one."""
    if place.type != "cuda" or compiled:
        return _OneByOne(take_step)
    return ReplayedSteps(take_step, (run.train.batch_sequences, run.model.context + 1), place)


@contextmanager
def _stream(place: torch.device) -> Iterator[None]:
    """On a GPU, a stream of this run's own: runs of other threads share the device, not the queue."""
    if place.type != "cuda":
        yield
        return
    with torch.cuda.stream(torch.cuda.Stream(place)):
        yield


def _problem(loss: float, gradient_norm: float, vocab_size: int) -> str:
    if not math.isfinite(loss):
        return f"training loss is {loss}"
    if not math.isfinite(gradient_norm):
        return f"gradient norm is {gradient_norm}"
    if loss > _EXPLODED * math.log(vocab_size):
        return f"training loss {loss:.3g} is over {_EXPLODED:g} times that of a uniform guess"
    return ""


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _whole_arithmetic() -> Iterator[None]:
    """Keep the smallest numbers, whatever the thread did with them: other libraries can have it drop them."""
    dropped = bool(torch.tensor(1e-40) * 1 == 0)
    torch.set_flush_denormal(False)
    try:
        yield
    finally:
        torch.set_flush_denormal(dropped)
