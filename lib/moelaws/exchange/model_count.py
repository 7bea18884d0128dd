"""What a published model has and costs: parameters, FLOPs, cache and bytes, counted from its configuration."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moelaws import __version__
from moelaws.counting import Parameters
from moelaws.exchange.architecture import Architecture
from moelaws.exchange.model_file import find_model
from moelaws.exchange.precision import PRECISIONS, Precision, PrecisionName, precision_of

CONTEXT = 4096
"""Tokens at which costs are stated where none are named."""


@dataclass(frozen=True)
class ModelCount:
    """A model, counted; ``print(count)`` shows it as ``moelaws count`` does.

    Attributes:
        name: a published model's, a folder's or a file's.
        architecture: what it is made of.
    """

    name: str
    architecture: Architecture

    @property
    def family(self) -> str:
        """``model_type`` of its ``config.json``."""
        return self.architecture.family

    @property
    def parameters(self) -> Parameters:
        """Parameters by role; biases and norms of attention are ``attention``."""
        return self.architecture.parameters

    @property
    def total_params(self) -> int:
        """N, embeddings included."""
        return self.parameters.total

    @property
    def active_params(self) -> int:
        """N_a: all but the experts that a token does not choose; both embeddings are included."""
        return self.parameters.active

    @property
    def n_experts(self) -> int:
        """E, routed experts of a layer that has any; 1 in a dense model."""
        return self.architecture.experts.n_experts if self.architecture.experts else 1

    @property
    def top_k(self) -> int:
        """K."""
        return self.architecture.experts.top_k if self.architecture.experts else 1

    def training_flops_per_token(self, context: int = CONTEXT) -> int:
        """FLOPs of forward and backward, per token of sequences of ``context`` tokens.

        As ``moelaws.training_flops_per_token`` counts: every matrix product, three times the forward pass, attention
        over all pairs of a sequence, but for layers with a window, over the window alone.
        """
        pairs = self.architecture.attention.forward_pair * self.architecture.seen(context)
        return round(3 * (self._products + pairs))

    def decode_flops_per_token(self, context: int = CONTEXT) -> int:
        """FLOPs of one new token after ``context`` cached ones, itself included."""
        return round(self._products + self.architecture.attention.decode_pair * self.architecture.seen(context))

    @property
    def _products(self) -> int:
        """FLOPs of a token in products with weights."""
        return 2 * (self.architecture.always_multiplied + self.architecture.chosen_multiplied)

    def kv_bytes(self, context: int = CONTEXT, bytes_per_value: float = 2) -> float:
        """Bytes of one request's cache after ``context`` tokens; a layer with a window keeps no more than that."""
        return self.architecture.seen(context) * self.architecture.attention.cached * bytes_per_value

    def kv_bytes_per_token(self, bytes_per_value: float = 2) -> float:
        """Bytes that a token adds to the cache as long as it is shorter than any window.

        2 L H_kv P values with grouped keys and values, L (r + rope) with latent attention.
        """
        return self.architecture.layers * self.architecture.attention.cached * bytes_per_value

    def weight_bytes(self, precision: PrecisionName | Precision = "bf16") -> float:
        """Bytes of all weights; ``fp32``, ``bf16``, ``fp8``, or ``int4-experts``, the rest in bf16."""
        chosen = precision if isinstance(precision, Precision) else precision_of(precision)
        return chosen.weights(self.parameters)

    def __str__(self) -> str:
        from moelaws.exchange.count_text import count_text  # not above: it imports this module

        return count_text(self, (CONTEXT,))

    def to_dict(self, contexts: tuple[int, ...] = (CONTEXT,)) -> dict[str, Any]:
        """Plain values for JSON, as ``moelaws count --json`` writes them of each model."""
        built = self.architecture
        return {
            "name": self.name,
            "family": self.family,
            "total_params": self.total_params,
            "active_params": self.active_params,
            "parameters": asdict(self.parameters),
            "layers": built.layers,
            "expert_layers": built.expert_layers,
            "n_experts": self.n_experts,
            "top_k": self.top_k,
            "windowed_layers": built.windowed_layers,
            "window": built.window,
            "kv_bytes_per_token": self.kv_bytes_per_token(),
            "weight_bytes": {name: self.weight_bytes(name) for name in PRECISIONS},
            "at_context": [
                {
                    "context": context,
                    "training_flops_per_token": self.training_flops_per_token(context),
                    "decode_flops_per_token": self.decode_flops_per_token(context),
                    "kv_bytes": self.kv_bytes(context),
                }
                for context in contexts
            ],
            "notes": list(built.notes),
        }


def count(model: str | Path | Mapping[str, Any]) -> ModelCount:
    """Count a published model from its ``config.json``: nothing is downloaded, no weight is read.

    Args:
        model: a ``config.json`` as Hugging Face has it, a folder that holds one, its fields as a mapping, or the name
            of a model in ``data/published/model_configs.csv``, such as ``mixtral-8x7b`` or ``openai/gpt-oss-20b``.

    Returns:
        Parameters, FLOPs a token, cache and weights in bytes. Totals equal those of transformers' model classes.

    Raises:
        ValueError: no such model; a family that is not counted; a field of the wrong kind, named.

    Example:
        >>> found = count("mixtral-8x7b")
        >>> found.total_params, found.active_params, found.kv_bytes_per_token()
        (46702792704, 12879925248, 131072)
        >>> round(found.weight_bytes("int4-experts") / 1e9, 1)
        25.8
    """
    return ModelCount(*find_model(model))


def count_record(counts: list[ModelCount], contexts: tuple[int, ...]) -> dict[str, Any]:
    """Several counts as one document."""
    return {"models": [each.to_dict(contexts) for each in counts], "versions": {"moelaws": __version__}}
