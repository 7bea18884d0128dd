"""The models, batches and routings that the book measures, and the tables they are recorded in.

Shape suffixes: B requests, T tokens of a request, K experts chosen per token.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from moelaws.config import ModelConfig, RunConfig
from moelaws.counting import tokens_for_budget
from moelaws.models import Transformer
from moelaws.models.checkpoint import load_checkpoint, save_checkpoint
from moelaws.runs import read_runs
from moelaws.serving.decoder import Decoder
from moelaws.serving.measure import Clock, Routing, measure, timing_row
from moelaws.serving.touched import even_experts, experts_of_loads
from moelaws.training.corpus import Corpus, cache_folder, load_corpus
from moelaws.training.recipe import recipe, tiny_model
from moelaws.training.train import train

EXPERTS, WIDTHS, BATCHES = (1, 8, 32), (32, 64, 128), (1, 2, 4, 8, 16, 32, 64, 128, 256)
PROMPT, NEW = 64, 32
_BUDGET = 3e11
"""Training FLOPs of each of the book's models: some seconds of one core, and a router that knows its tokens."""

_WINDOWS = 512
_SPLIT = 0.5
"""Share of the held-out text that loads are counted on; requests are cut from the rest."""

# What makes two rows measurements of the same thing, so that the later one replaces the earlier.
_KEY = (
    *ModelConfig().to_dict(), "weights", "routing", "text", "batch", "prompt_tokens", "new_tokens", "dtype", "device",
    "machine", "threads",
)  # fmt: skip


@dataclass(frozen=True)
class Requests:
    """Where requests come from: held-out text, or uniform tokens where there is none.

    Attributes:
        name: the corpus, or ``uniform``.
        vocab_size: V.
        tokens: the text; empty for uniform tokens.
    """

    name: str
    vocab_size: int
    tokens: NDArray[np.uint16]

    def draw(self, batch: int, length: int, seed: int = 0) -> Tensor:
        """So many pieces of text that do not overlap, from places drawn at random: B x T.

        Raises:
            ValueError: the text is too short.
        """
        rng = np.random.default_rng((seed, batch))
        if not self.tokens.size:
            return torch.from_numpy(rng.integers(self.vocab_size, size=(batch, length)))
        places = len(self.tokens) // length
        if places < batch:
            raise ValueError(f"{self.name}: {batch} requests of {length} tokens: the held-out text has {places}")
        starts = rng.choice(places, batch, replace=False) * length
        return torch.from_numpy(self.tokens[starts[:, None] + np.arange(length)].astype(np.int64))


def requests_of(corpus: Corpus) -> Requests:
    """Requests from the second half of a corpus's held-out text."""
    return Requests(corpus.name, corpus.vocab_size, corpus.validation[int(_SPLIT * len(corpus.validation)) :])


def uniform_requests(vocab_size: int) -> Requests:
    """Requests of tokens drawn evenly: the text of a model that has learned nothing."""
    return Requests("uniform", vocab_size, np.empty(0, np.uint16))


def trained_model(d_model: int, n_experts: int, top_k: int = 1) -> Transformer:
    """One of the book's models for measuring, trained on the default corpus the first time and kept in the cache.

    The same weights come out again on the same machine; on another one they differ in their last bits.
    """
    corpus = load_corpus()
    model = tiny_model(d_model, n_experts, top_k, vocab_size=corpus.vocab_size)
    run = RunConfig(model, recipe(model, _BUDGET, tokens_for_budget(model, _BUDGET)), corpus.name, corpus.sha256)
    folder = cache_folder() / f"checkpoint-{run.run_id}"
    if not (folder / "config.json").exists():
        save_checkpoint(train(run, corpus, device="cpu").model, folder, corpus.tokenizer_file)
    return load_checkpoint(folder)


@torch.inference_mode()
def routes_of(decoder: Decoder, windows_BT: Tensor) -> list[Tensor]:
    """Experts that each token of some text chooses: B x T x K for each routed layer."""
    length = windows_BT.shape[1]
    layers: list[list[Tensor]] = []
    for part in windows_BT.split(32):
        routes: list[Tensor] = []
        decoder.prefill(part, 0, routes)
        layers.append([ids_RK.view(len(part), length, -1) for ids_RK in routes])
    return [torch.cat(parts) for parts in zip(*layers, strict=True)]


def loads_of(decoder: Decoder, corpus: Corpus) -> list[list[float]]:
    """Share of the choices that each expert of each routed layer receives, on the first half of the held-out text."""
    text = Requests(corpus.name, corpus.vocab_size, corpus.validation[: int(_SPLIT * len(corpus.validation))])
    length = decoder.config.context
    routes = routes_of(decoder, text.draw(min(_WINDOWS, len(text.tokens) // length), length))
    return [
        (torch.bincount(ids.flatten(), minlength=decoder.config.n_experts) / ids.numel()).tolist() for ids in routes
    ]


def measure_batches(
    decoder: Decoder,
    requests: Requests,
    batches: Sequence[int],
    weights: str,
    prompt_tokens: int = PROMPT,
    new_tokens: int = NEW,
    repeats: int = 5,
    clock: Clock = "wall",
    routing: Routing = "router",
) -> Iterator[dict[str, Any]]:
    """A row of the timing table for each batch.

    Args:
        decoder: the model.
        requests: their source.
        batches: numbers of requests.
        weights: ``trained`` or ``random``.
        prompt_tokens, new_tokens, repeats, clock, routing: as in ``measure``.
    """
    for batch in batches:
        ids_BT = requests.draw(batch, prompt_tokens + new_tokens)
        found = measure(decoder, ids_BT, prompt_tokens, repeats, clock, routing)
        yield timing_row(decoder, found, weights, requests.name)


def measure_grid(
    repeats: int = 5, clock: Clock = "wall", batches: Sequence[int] = BATCHES, on_event: Callable[[str], None] = print
) -> Iterator[dict[str, Any]]:
    """The book's grid, on trained routers and on experts drawn evenly; rows carry the loads of the trained routers."""
    corpus = load_corpus()
    for width in WIDTHS:
        for n_experts in EXPERTS:
            on_event(f"d = {width}, E = {n_experts}: training, or reading what was trained before")
            decoder = Decoder(trained_model(width, n_experts))
            loads = json.dumps([[round(share, 5) for share in layer] for layer in loads_of(decoder, corpus)])
            routings: tuple[Routing, ...] = ("router", "uniform") if n_experts > 1 else ("router",)
            for routing in routings:
                rows = measure_batches(
                    decoder, requests_of(corpus), batches, "trained", repeats=repeats, clock=clock, routing=routing
                )
                for row in rows:
                    yield row | {"expert_load": loads if routing == "router" and n_experts > 1 else ""}


def measure_calibration(
    device: str = "cpu", clock: Clock = "wall", widths: Sequence[int] = WIDTHS, batches: Sequence[int] = (1, 4, 16, 64)
) -> Iterator[dict[str, Any]]:
    """A small grid of random models, to calibrate a machine in a minute: what a step costs needs no training."""
    for width in widths:
        for n_experts in EXPERTS:
            decoder = random_decoder(tiny_model(width, n_experts), device)
            requests = uniform_requests(decoder.config.vocab_size)
            yield from measure_batches(
                decoder, requests, batches, "random", prompt_tokens=32, new_tokens=16, repeats=3, clock=clock
            )


def measure_touched(
    width: int = 64,
    experts: Sequence[tuple[int, int]] = ((8, 1), (8, 2), (32, 1), (32, 2)),
    batches: Sequence[int] = BATCHES,
) -> Iterator[dict[str, Any]]:
    """Distinct experts of groups of tokens, from different requests and from one, beside what loads predict.

    ``independent``: the group's tokens stand at the same place of different requests, as in a decode step.
    ``one text``: they follow each other in one request, as where one request's next tokens are checked together.

    Args:
        width: of the models.
        experts: (E, K) of each.
        batches: tokens of a group.
    """
    corpus = load_corpus()
    for n_experts, top_k in experts:
        decoder = Decoder(trained_model(width, n_experts, top_k))
        loads = loads_of(decoder, corpus)
        length = decoder.config.context
        text = requests_of(corpus)
        routes = routes_of(decoder, text.draw(min(_WINDOWS, len(text.tokens) // length), length))
        for layer, (ids_BTK, load) in enumerate(zip(routes, loads, strict=True)):
            for batch in batches:
                kinds = {"independent": ids_BTK.transpose(0, 1)}
                if batch <= length:
                    kinds["one text"] = ids_BTK
                for kind, ids in kinds.items():
                    counts = _distinct(ids, batch, n_experts)
                    yield {
                        "d_model": width, "n_experts": n_experts, "top_k": top_k, "layer": layer, "tokens": batch,
                        "source": kind, "groups": len(counts),
                        "touched": round(float(counts.mean()), 4),
                        "touched_sd": round(float(counts.std(ddof=1)), 4),
                        "of_load": round(float(experts_of_loads(load, top_k, batch)), 4),
                        "even": round(float(even_experts(n_experts, top_k, batch)), 4),
                    }  # fmt: skip


def record_rows(path: Path, rows: Sequence[dict[str, Any]], key: Sequence[str] = _KEY) -> None:
    """Put rows into a table; a row that measures the same again takes the older one's place. Whole or not at all.

    Args:
        path: a CSV file; made if absent.
        rows: the new rows.
        key: columns that say what was measured.
    """
    added = pd.DataFrame(rows)
    if path.exists():
        table = pd.concat([read_runs(path, required=()), added], ignore_index=True)
        same = [name for name in key if name in table.columns]
        words = table[same].map(_word)
        added = table[~words.duplicated(keep="last")]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            added.to_csv(file, index=False, lineterminator="\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def random_decoder(config: ModelConfig, device: str = "cpu") -> Decoder:
    """A model that was not trained; its router's choices are those of its first weights."""
    return Decoder(Transformer(config).to(device))


def _word(value: Any) -> str:
    """A cell as text, read from a file or new: 1 and 1.0 are the same number of experts."""
    return str(value) if isinstance(value, bool | np.bool_ | str) else f"{value:g}"


def _distinct(ids_NMK: Tensor, batch: int, n_experts: int) -> NDArray[np.int64]:
    """Distinct experts of groups of ``batch`` tokens, taken side by side along the second dimension."""
    groups = ids_NMK.shape[1] // batch
    ids = ids_NMK[:, : groups * batch].reshape(ids_NMK.shape[0] * groups, -1)
    touched = torch.zeros(len(ids), n_experts, dtype=torch.bool).scatter_(1, ids.cpu(), True)
    return touched.sum(1).numpy()
