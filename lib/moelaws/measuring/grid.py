"""The settings that the book measures, pass by pass: models, batches and routings of the timing table."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from moelaws.available_memory import require_memory
from moelaws.config import ModelConfig
from moelaws.decoding.engine import AnyDecoder, make_decoder
from moelaws.measuring.loads import loads_of
from moelaws.measuring.measure import Clock, Routing, measure
from moelaws.measuring.requests import BATCHES, NEW, PROMPT, Requests, requests_of, uniform_requests
from moelaws.measuring.rows import over_passes, setting, timing_row
from moelaws.measuring.subjects import EXPERTS, WIDTHS, random_decoder, trained_model
from moelaws.models import Transformer
from moelaws.serving.calibration import FEWEST
from moelaws.stages import counted
from moelaws.text.corpus import load_corpus
from moelaws.training.recipe import tiny_model

Row = dict[str, Any]


def measure_batches(
    decoder: AnyDecoder,
    requests: Requests,
    batches: Sequence[int],
    weights: str,
    prompt_tokens: int = PROMPT,
    new_tokens: int = NEW,
    repeats: int = 5,
    clock: Clock = "wall",
    routing: Routing = "router",
) -> Iterator[Row]:
    """A row of the timing table for each batch.

    Args:
        decoder: the model.
        requests: their source.
        batches: numbers of requests.
        weights: ``trained`` or ``random``.
        prompt_tokens, new_tokens, repeats, clock, routing: as in ``measure``.

    Raises:
        TooLargeError: the requests do not fit the memory; none is measured.
    """
    most = max(batches)
    require_memory(
        _least_bytes(decoder.config, most, prompt_tokens, new_tokens),
        f"a batch of {most} requests of {prompt_tokens + new_tokens} tokens",
    )
    for batch in batches:
        ids_BT = requests.draw(batch, prompt_tokens + new_tokens)
        found = measure(decoder, ids_BT, prompt_tokens, repeats, clock, routing)
        yield timing_row(decoder, found, weights, requests.name)


def _least_bytes(model: ModelConfig, batch: int, prompt_tokens: int, new_tokens: int) -> int:
    """Memory that requests take at least: their tokens, their cache, and what the prefill computes in a layer."""
    length = prompt_tokens + new_tokens
    kept = batch * length * (8 + 8 * model.n_layers * model.d_model)
    return kept + 4 * batch * prompt_tokens * (6 * model.d_model + 3 * model.top_k * model.d_expert)


def in_passes(
    one_pass: Callable[[int], Iterator[Row]],
    passes: int,
    seconds: float = float("inf"),
    fewest: int = 1,
) -> Iterator[Row]:
    """Measure all settings, then all of them again, and so on: see ``over_passes``.

    Args:
        one_pass: measures every setting once; gets the pass's number, from 0.
        passes: how many, at most.
        seconds: no setting is measured any more after so long, however far the passes are.
        fewest: settings that are measured in any case.

    Yields:
        After every measurement its setting's row over the passes so far.
    """
    taken: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    ends = time.monotonic() + seconds
    for number in range(passes):
        for row in one_pass(number):
            rows = taken[setting(row)]
            rows.append(row)
            yield over_passes(rows)
            if time.monotonic() >= ends and len(taken) >= fewest:
                return


def measure_grid(
    passes: int = 9,
    repeats: int = 1,
    clock: Clock = "wall",
    batches: Sequence[int] = BATCHES,
    ready: Callable[[Transformer], AnyDecoder] = make_decoder,
    on_event: Callable[[str], None] = print,
) -> Iterator[Row]:
    """The book's grid, on trained routers and on experts drawn evenly; rows carry the loads of the trained routers.

    Every model is read anew in every pass, so that the memory of a row is one model's.

    Args:
        passes, repeats, clock, batches: as in ``measure_batches`` and ``in_passes``.
        ready: makes a model ready for decoding.
        on_event: told what is measured.
    """
    corpus = load_corpus()
    loads: dict[tuple[int, int], str] = {}

    def one_pass(number: int) -> Iterator[Row]:
        for width, n_experts in ((width, n_experts) for width in WIDTHS for n_experts in EXPERTS):
            on_event(f"pass {number + 1} of {passes}: d = {width}, E = {n_experts}")
            decoder = ready(trained_model(width, n_experts))
            routings: tuple[Routing, ...] = ("router", "uniform") if n_experts > 1 else ("router",)
            if n_experts > 1 and number == 0:
                shares = [[round(share, 5) for share in layer] for layer in loads_of(decoder, corpus)]
                loads[width, n_experts] = json.dumps(shares)
            for routing in routings:
                load = loads.get((width, n_experts), "") if routing == "router" else ""
                for row in measure_batches(
                    decoder, requests_of(corpus), batches, "trained", repeats=repeats, clock=clock, routing=routing
                ):
                    yield row | {"expert_load": load}

    settings = len(WIDTHS) * sum(2 if n_experts > 1 else 1 for n_experts in EXPERTS) * len(batches)
    return counted(in_passes(one_pass, passes), "timing the book's grid", passes * settings)


CALIBRATION_SECONDS = 60.0
"""How long a machine is timed: enough for some passes on a core that does nothing else."""

CALIBRATED = (
    (32, 1), (64, 8), (128, 32), (256, 8), (32, 8), (64, 32), (128, 1), (32, 32), (64, 1), (128, 8)
)  # fmt: skip
"""Widths and numbers of experts of the models that a machine is calibrated on. Where time is short the first must do:
they differ in both. The weights of two lie beyond a processor's own cache, or none would say what memory gives when the
other is left out."""


def measure_calibration(
    subject: Callable[[ModelConfig], AnyDecoder] = random_decoder,
    clock: Clock = "wall",
    passes: int = 9,
    repeats: int = 1,
    seconds: float = CALIBRATION_SECONDS,
    models: Sequence[tuple[int, int]] = CALIBRATED,
    batches: Sequence[int] = (1, 4, 16, 64),
) -> Iterator[Row]:
    """A small grid of random models, to calibrate a machine in a minute: what a step costs needs no training.

    Args:
        subject: makes a model of a configuration, ready for decoding.
        clock, repeats: as in ``measure``.
        passes: over all settings, at most.
        seconds: how long to measure; on a slow or busy machine passes are fewer, and the last one may be cut short.
        models: width and number of experts of each, in the order of their turns.
        batches: numbers of requests.

    Yields:
        As ``in_passes``.
    """

    def one_pass(_: int) -> Iterator[Row]:
        for width, n_experts in models:
            decoder = subject(tiny_model(width, n_experts))
            requests = uniform_requests(decoder.config.vocab_size)
            yield from measure_batches(
                decoder, requests, batches, "random", prompt_tokens=32, new_tokens=16, repeats=repeats, clock=clock
            )

    return in_passes(one_pass, passes, seconds, fewest=FEWEST)
