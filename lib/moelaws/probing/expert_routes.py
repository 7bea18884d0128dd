"""Where a trained mixture sends the tokens of held-out text."""

import numpy as np
import pandas as pd
import torch

from moelaws.models import Transformer
from moelaws.text.batches import validation_windows
from moelaws.text.corpus import Corpus
from moelaws.text.tokenizer import END_OF_TEXT


def expert_shares(
    model: Transformer, corpus: Corpus, layer: int, most_frequent: int, tokens: int = 65_536
) -> pd.DataFrame:
    """How often each frequent token goes to each expert of a layer.

    Args:
        model: a mixture of experts.
        corpus: its text; the held-out part is read.
        layer: which layer, counted from 0; negative from the end.
        most_frequent: how many tokens to report.
        tokens: how much text to read.

    Returns:
        Columns ``token`` (printable), ``expert``, ``share`` (over the token's choices; sums to 1 over experts) and
        ``order``, by which tokens of one expert stand together.

    Raises:
        ValueError: a dense model, which has no router.
    """
    ids, chosen = _choices(model, corpus, layer, tokens)
    n_experts = model.config.n_experts
    end = corpus.tokenizer().token_to_id(END_OF_TEXT)
    counts = np.bincount(ids, minlength=corpus.vocab_size)
    counts[end] = 0
    rows = []
    for token in np.argsort(-counts, kind="stable")[:most_frequent]:
        share = np.bincount(chosen[ids == token].ravel(), minlength=n_experts).astype(float)
        share /= max(1.0, share.sum())
        rows.append((printable(corpus, int(token)), share))
    rows.sort(key=lambda row: (int(row[1].argmax()), -row[1].max()))
    return pd.DataFrame(
        {"token": token, "expert": expert, "share": float(share[expert]), "order": order}
        for order, (token, share) in enumerate(rows)
        for expert in range(n_experts)
    )


def route_text(model: Transformer, corpus: Corpus, layer: int, tokens: int) -> tuple[list[str], list[int]]:
    """The first tokens of the held-out text, and the first choice of each.

    Args:
        model: a mixture of experts.
        corpus: its text.
        layer: which layer, counted from 0; negative from the end.
        tokens: how many, at most the model's context.

    Returns:
        Printable tokens and the number of each one's most probable expert.

    Raises:
        ValueError: a dense model, which has no router.
    """
    ids, chosen = _choices(model, corpus, layer, model.config.context)
    return [printable(corpus, int(token)) for token in ids[:tokens]], chosen[:tokens, 0].tolist()


def printable(corpus: Corpus, token: int) -> str:
    """A token as it can be shown: spaces as ``·``, line ends as ``⏎``, broken characters as ``�``."""
    text = corpus.tokenizer().decode([token], skip_special_tokens=False)
    return text.replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥")


@torch.no_grad()
def _choices(model: Transformer, corpus: Corpus, layer: int, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    if not model.config.is_moe:
        raise ValueError("n_experts = 1: a dense model has no router; expected a mixture of experts")
    windows = torch.from_numpy(validation_windows(corpus.validation, model.config.context, tokens)[:, :-1])
    parts = [model(part.to(model.embedding.device))[1][layer].ids_TK.cpu() for part in windows.split(32)]
    return windows.flatten().numpy(), torch.cat(parts).numpy()
