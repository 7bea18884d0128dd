"""Text from a model: prompts in, the tokens that follow out.

Shape suffixes: B requests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from moelaws.decoding.engine import AnyDecoder, Engine, make_decoder
from moelaws.decoding.sampling import GREEDY, Sampling, choose
from moelaws.models import Transformer


@dataclass(frozen=True)
class Generation:
    """What followed the prompts.

    Attributes:
        tokens: new tokens of each request, the stop token included where it came.
        stopped: whether each request came to the stop token.
        steps: tokens computed for every request, the first by the prefill.
    """

    tokens: list[list[int]]
    stopped: list[bool]
    steps: int


def generate(
    model: "Transformer | AnyDecoder",
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    sampling: Sampling = GREEDY,
    stop: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
    engine: Engine = "auto",
) -> Generation:
    """Continue prompts, all together. A request that has stopped is carried along until the last one stops.

    Positions beyond the context that the model was trained on are allowed; what it says there is another matter.

    Args:
        model: the model, or one made ready already.
        prompts: token ids, at least one each, of any lengths.
        new_tokens: at most so many.
        sampling: how each token is chosen.
        stop: token that ends a request.
        on_step: called after each step with (tokens so far, new_tokens).
        engine: what decodes, see ``make_decoder``; of no effect where the model was made ready already.

    Returns:
        The new tokens. A request's tokens do not depend on the others, up to rounding.

    Raises:
        ValueError: no prompts, an empty one, a token id that is not the model's, or fewer than one new token; or an
            engine that cannot decode this model.

    Examples:
        >>> from moelaws.config import ModelConfig
        >>> config = ModelConfig(vocab_size=32, d_model=16, n_layers=1, n_heads=2, d_ff=32, context=32)
        >>> answer = generate(Transformer(config), [[1, 2, 3], [4]], 5, engine="eager")
        >>> [len(tokens) for tokens in answer.tokens]
        [5, 5]
    """
    decoder = make_decoder(model, engine)
    _check(prompts, new_tokens, decoder.config.vocab_size)
    draws = sampling.draws(len(prompts), new_tokens) if sampling.temperature > 0 else None
    # The last token is never read, so it needs no room.
    logits_BV, cache = decoder.prefill(prompts, new_tokens - 1)
    columns: list[list[int]] = []
    done = [False] * len(prompts)
    while True:
        step = len(columns)
        with torch.inference_mode():
            ids_B = choose(logits_BV, sampling, None if draws is None else draws[step].to(decoder.device))
        columns.append(ids_B.tolist())
        if on_step is not None:
            on_step(step + 1, new_tokens)
        if stop is not None:
            done = [was or token == stop for was, token in zip(done, columns[-1], strict=True)]
        if len(columns) == new_tokens or all(done):
            break
        logits_BV = decoder.extend(cache, ids_B[:, None])
    tokens = [_until(list(row), stop) for row in zip(*columns, strict=True)]
    return Generation(tokens, done, len(columns))


def _check(prompts: Sequence[Sequence[int]], new_tokens: int, vocab_size: int) -> None:
    if new_tokens < 1:
        raise ValueError(f"new_tokens = {new_tokens}: expected a whole number >= 1")
    if not prompts:
        raise ValueError("prompts: expected at least one")
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {number} is empty: expected at least one token")
        wrong = [token for token in prompt if not 0 <= token < vocab_size]
        if wrong:
            raise ValueError(f"prompt {number} has token {wrong[0]}: expected 0 to {vocab_size - 1}")


def _until(tokens: list[int], stop: int | None) -> list[int]:
    return tokens[: tokens.index(stop) + 1] if stop in tokens else tokens
