"""The tiny OLMoE-style models: router, experts, transformer. Needs torch."""

from moelaws.models.experts import ExpertsLayer
from moelaws.models.router import RouterStatistics
from moelaws.models.transformer import Transformer

__all__ = ["ExpertsLayer", "RouterStatistics", "Transformer"]
