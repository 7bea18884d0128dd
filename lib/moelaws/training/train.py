"""One training run: a frozen configuration in, a trained model and its measured result out."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from moelaws.config import ConfigError, RunConfig, TrainConfig
from moelaws.counting import training_flops_per_token
from moelaws.models import Transformer
from moelaws.training.batches import training_batches
from moelaws.training.corpus import Corpus
from moelaws.training.memory import keep_freed_memory
from moelaws.training.validate import Validation, validate

# FLOPs of a run from which a GPU compiles the model: some minutes of training.
_COMPILE_FROM = 1e16
# A loss of three times that of a uniform guess does not come back.
_EXPLODED = 3.0


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
        training_seconds: wall time of the steps.
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
    corpus: Corpus,
    device: str = "auto",
    threads: int = 1,
    on_step: Callable[[int, int, float], None] | None = None,
) -> TrainingResult:
    """Train one model and validate it. The same run, machine and thread count give the same bits.

    Args:
        run: what to train.
        corpus: the text, tokenized with the model's vocabulary.
        device: ``auto`` (CUDA where there is one), ``cpu`` or ``cuda``.
        threads: torch threads on the CPU. One is fastest for models this small; run several processes instead.
        on_step: called after each step with (step, steps, loss).

    Returns:
        The trained model and its result.

    Raises:
        ConfigError: the model's vocabulary is not the corpus's, or the corpus is not the one the run names.
        CorpusError: the text is too short for one batch.
    """
    _check(run, corpus)
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    keep_freed_memory()
    with _threads(threads):
        start = time.perf_counter()
        model = Transformer(run.model, seed=run.train.seed).to(place)
        losses, reason = _steps(model, run, corpus, on_step)
        training_seconds = time.perf_counter() - start
        validation = None if reason else validate(model, corpus, run.train.validation_tokens)
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
            seconds=time.perf_counter() - start,
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


def _check(run: RunConfig, corpus: Corpus) -> None:
    if run.model.vocab_size != corpus.vocab_size:
        raise ConfigError(
            f"vocab_size = {run.model.vocab_size}: expected {corpus.vocab_size}, the vocabulary of {corpus.name}"
        )
    if run.corpus_sha256 and run.corpus_sha256 != corpus.sha256:
        raise ConfigError(f"corpus_sha256 = {run.corpus_sha256!r}: {corpus.name} has {corpus.sha256!r}")
    corpus.require(run.train.batch_sequences, run.model.context)


def _steps(
    model: Transformer, run: RunConfig, corpus: Corpus, on_step: Callable[[int, int, float], None] | None
) -> tuple[list[float], str]:
    """Run the optimiser; returns the losses and, if the run diverged, why."""
    config, steps = run.train, run.steps
    device = model.embedding.device
    parameters = list(model.parameters())
    optimiser = _optimiser(model, config)
    batches = training_batches(corpus.train, config.batch_sequences, run.model.context, config.seed)
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda")
    compute_loss = torch.compile(model.loss) if _worth_compiling(run, device) else model.loss
    losses: list[float] = []
    for step in range(steps):
        ids = torch.from_numpy(next(batches)).to(device)
        optimiser.zero_grad(set_to_none=True)
        with autocast:
            loss, routers = compute_loss(ids[:, :-1], ids[:, 1:])
        objective = loss
        for router in routers:
            layers = len(routers)
            objective = objective + config.load_balance / layers * router.load_balance
            objective = objective + config.router_z / layers * router.router_z
        objective.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if norm > config.clip_norm:  # most steps need no scaling, which is a pass over every gradient
            torch.nn.utils.clip_grads_with_norm_(parameters, config.clip_norm, norm)
        losses.append(float(loss.detach()))
        problem = _problem(losses[-1], float(norm), run.model.vocab_size)
        if problem:
            return losses, f"step {step + 1} of {steps}: {problem}"
        for group in optimiser.param_groups:
            group["lr"] = group["lr_factor"] * learning_rate_at(step, steps, config)
        optimiser.step()
        if config.balance_bias_rate:
            model.balance(routers, config.balance_bias_rate)
        if on_step is not None:
            on_step(step + 1, steps, losses[-1])
    return losses, ""


def _worth_compiling(run: RunConfig, device: torch.device) -> bool:
    """On a GPU, for runs that last far longer than the minute that compiling takes."""
    flops = training_flops_per_token(run.model) * run.steps * run.batch_tokens
    return device.type == "cuda" and flops > _COMPILE_FROM


def _optimiser(model: Transformer, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with rates of their own for embeddings and routers, and without weight decay on gains."""
    groups: dict[str, dict[str, Any]] = {
        kind: {"params": [], "weight_decay": 0.0 if kind == "gain" else config.weight_decay, "lr_factor": factor}
        for kind, factor in {
            "matrix": 1.0,
            "gain": 1.0,
            "router": config.router_lr_factor,
            "embedding": config.embedding_lr_factor,
            "unembedding": config.embedding_lr_factor,
        }.items()
    }
    for name, parameter in model.named_parameters():
        kind = name.rpartition(".")[2]
        groups[kind if kind in groups else "matrix"]["params"].append(parameter)
    return torch.optim.AdamW(
        [group for group in groups.values() if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )


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
