"""Prefill and decode step of one model by batch, as a machine's constants foresee them."""

from collections.abc import Iterable
from dataclasses import dataclass

from moelaws.exchange.precision import Precision
from moelaws.serving.roofline import Machine, decode_work, phase_seconds, prefill_work, step_seconds
from moelaws.serving.served import Served
from moelaws.serving.touched import Routing


@dataclass(frozen=True)
class StepTime:
    """What serving a batch takes, foreseen.

    Attributes:
        batch, prompt_tokens, new_tokens: requests, tokens of each prompt, decode steps.
        prefill_seconds: reading all prompts.
        decode_step_seconds: one step, in the middle of the answers.
        tokens_per_second: of all requests together, while decoding.
        experts_touched: distinct experts of a layer that a step reads.
        reading_seconds: of the step, what its matrices and caches take: the rest is activations, overheads and links.
        cache_bytes: of all requests at the end.
    """

    batch: int
    prompt_tokens: int
    new_tokens: int
    prefill_seconds: float
    decode_step_seconds: float
    tokens_per_second: float
    experts_touched: float
    reading_seconds: float
    cache_bytes: float


def predict_steps(
    model: Served,
    machine: Machine,
    batches: Iterable[int],
    lengths: tuple[int, int] = (64, 32),
    bytes_per_value: float | Precision = 2,
    routing: Routing = "distinct",
) -> list[StepTime]:
    """Times of prefill and decode step by batch.

    Args:
        model: from ``served_config`` or ``served_count``.
        machine: from ``node``, of a data sheet, or from ``calibrate``.
        batches: numbers of requests.
        lengths: tokens of each prompt, and decode steps after it.
        bytes_per_value: 4 for fp32, 2 for bf16, or a ``Precision``.
        routing: which experts a step reads.

    Returns:
        One row a batch.
    """
    prompt, new = lengths
    size, found = Precision.of(bytes_per_value), []
    for batch in batches:
        work = decode_work(model, batch, prompt + (new + 1) / 2, size, routing)
        step = float(step_seconds(machine, work))
        found.append(
            StepTime(
                batch=batch,
                prompt_tokens=prompt,
                new_tokens=new,
                prefill_seconds=float(step_seconds(machine, prefill_work(model, batch, prompt, size, routing))),
                decode_step_seconds=step,
                tokens_per_second=batch / step,
                experts_touched=float(work.experts_touched),
                reading_seconds=float(sum(phase_seconds(machine, work).values())),
                cache_bytes=float(batch * model.cached(prompt + new)) * size.cache,
            )
        )
    return found
