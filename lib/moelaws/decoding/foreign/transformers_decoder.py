"""transformers as a decoder: the same model, opened by it as it opens any other.

Shape suffixes: B requests, T tokens, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from moelaws.decoding.decoder import Decoder
from moelaws.decoding.foreign.saved_model import ForeignCache, ForeignError, refuse_routes, same_length, saved
from moelaws.models import Transformer
from moelaws.models.layout import LAYOUT, fields_of

_NAME = "transformers"


class TransformersDecoder:
    """A model opened by transformers; used like ``Decoder``, but that experts are neither told nor forced.

    Args:
        model: on its device; it is written to a folder that transformers reads, and is not changed.

    Raises:
        ForeignError: transformers is not here, or cannot hold the model.
    """

    engine = _NAME

    def __init__(self, model: Transformer) -> None:
        self.config = model.config
        self.device = model.embedding.device
        self.reference = Decoder(model)
        if fields_of(model.config)["model_type"] != LAYOUT:
            raise ForeignError(f"{_NAME}: router_scores = {model.config.router_scores!r}: its OLMoE has softmax alone")
        try:
            from transformers import OlmoeForCausalLM
            from transformers.utils.logging import disable_progress_bar
        except ImportError:
            raise ForeignError(f"{_NAME} is not here: pip install transformers") from None
        disable_progress_bar()  # it tells of every tensor
        with saved(model, _NAME) as folder:
            opened: Any = OlmoeForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self._model = opened.to(self.device).eval()

    @property
    def threads(self) -> int:
        """Threads of torch."""
        return torch.get_num_threads()

    @property
    def routed_layers(self) -> int:
        """Layers with a router."""
        return self.reference.routed_layers

    @torch.inference_mode()
    def prefill(
        self, prompts: Sequence[Sequence[int]] | Tensor, room: int, routes: list[Tensor] | None = None,
        forced: Any = None,
    ) -> tuple[Tensor, Any]:  # fmt: skip
        """Read the prompts, all of one length; arguments and results as those of ``Decoder.prefill``."""
        ids_BT = same_length(prompts, _NAME)
        batch, time = ids_BT.shape
        size = 8 * batch * (time + room) * self.config.n_layers * self.config.d_model
        cache = TransformersCache(0, size)
        return self.extend(cache, ids_BT, routes, forced), cache

    @torch.inference_mode()
    def extend(self, cache: Any, ids_BT: Tensor, routes: list[Tensor] | None = None, forced: Any = None) -> Tensor:
        """Read so many more tokens of every request; arguments and results as those of ``Decoder.extend``."""
        refuse_routes(_NAME, routes, forced)
        if not isinstance(cache, TransformersCache):
            raise ForeignError("the cache is another decoder's: expected one from this decoder's prefill")
        found = self._model(ids_BT.to(self.device), past_key_values=cache.held, use_cache=True, logits_to_keep=1)
        cache.held = found.past_key_values
        cache.length += ids_BT.shape[1]
        logits_BV: Tensor = found.logits[:, -1]
        return logits_BV


class TransformersCache(ForeignCache):
    """With what transformers keeps."""

    held: Any = None
