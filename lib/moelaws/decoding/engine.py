"""Which program decodes: the compiled one where it can, the eager one, which defines what is computed, or another's."""

import warnings
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from moelaws.decoding.decoder import Decoder
from moelaws.models import Transformer

if TYPE_CHECKING:
    from moelaws.decoding.compiled.compiled_decoder import CompiledDecoder
    from moelaws.decoding.foreign.llama_decoder import LlamaDecoder
    from moelaws.decoding.foreign.transformers_decoder import TransformersDecoder

Engine = Literal["auto", "compiled", "eager", "llama.cpp", "transformers"]
"""``compiled`` needs numba, and a model on the CPU whose routers' scores it knows; ``auto`` takes it where it can. The
last two are other programs, where they are installed: see ``foreign``."""
ENGINES: tuple[Engine, ...] = get_args(Engine)

AnyDecoder: TypeAlias = "Decoder | CompiledDecoder | LlamaDecoder | TransformersDecoder"
"""All have ``config``, ``device``, ``engine``, ``threads``, ``routed_layers``, ``prefill`` and ``extend``."""


class EngineError(ValueError):
    """A model cannot be decoded by the program that was asked for."""


class EngineWarning(UserWarning):
    """A model is decoded by the slower program."""


def make_decoder(model: "Transformer | AnyDecoder", engine: Engine = "auto", threads: int = 1) -> AnyDecoder:
    """Make a model ready for decoding.

    Compiling takes some seconds the first time on a machine; later it is read from the disk.

    Args:
        model: on its device; its weights are copied. A decoder is given back as it is.
        engine: what decodes.
        threads: of the compiled decoder, and of llama.cpp; those of the others are torch's.

    Raises:
        EngineError: ``compiled`` without numba, for a model that is not on the CPU, or whose routers have scores that
            it does not know; an engine that is none.
    """
    if not isinstance(model, Transformer):
        return model
    if engine not in ENGINES:
        raise EngineError(f"engine = {engine!r}: expected one of {', '.join(ENGINES)}")
    device = model.embedding.device.type
    if engine in ("compiled", "llama.cpp") and device != "cpu":
        raise EngineError(f"engine = {engine!r}: runs on a CPU, and the model is on {device}; take engine = 'eager'")
    if engine == "llama.cpp":
        from moelaws.decoding.foreign.llama_decoder import LlamaDecoder

        return LlamaDecoder(model, threads)
    if engine == "transformers":
        from moelaws.decoding.foreign.transformers_decoder import TransformersDecoder

        return TransformersDecoder(model)
    if engine == "eager" or device != "cpu":
        return Decoder(model)
    try:
        from moelaws.decoding.compiled.compiled_decoder import CompiledDecoder
        from moelaws.decoding.compiled.working_memory import SCORES
    except ImportError as error:
        missing = f"numba cannot be imported ({error}): pip install numba"
        if engine == "compiled":
            raise EngineError(f"engine = 'compiled': {missing}, or take engine = 'eager'") from None
        _warn(f"{missing} decodes several times faster; until then torch decodes")
        return Decoder(model)
    if (scores := model.config.router_scores) not in SCORES:
        if engine == "compiled":
            raise EngineError(f"engine = 'compiled': knows no router with {scores} scores; take engine = 'eager'")
        return Decoder(model)
    return CompiledDecoder(model, threads)


@cache
def _warn(sentence: str) -> None:
    """Once is enough."""
    warnings.warn(sentence, EngineWarning, stacklevel=3)
