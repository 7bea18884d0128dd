"""Which layers see a window of the last tokens alone: sliding windows, and chunks."""

from collections.abc import Callable

from moelaws.exchange.config_fields import ConfigFileError, Fields
from moelaws.quote import shown

_WHOLE, _WINDOWED = {"full_attention"}, {"sliding_attention", "chunked_attention"}


def windows(fields: Fields, layers: int, by_default: Callable[[int], bool], window: int) -> tuple[int, int]:
    """How many layers see a window, and its width; both 0 where none does.

    Args:
        fields: of the file; its ``layer_types``, if there are any, say which layers.
        layers: how many there are.
        by_default: whether a layer does, by its number from 0, where the file has no list.
        window: the window's width in tokens; 0 for none.

    Raises:
        ConfigFileError: a list of another length, or a layer without attention.
    """
    kinds = fields.listed("layer_types", str)
    if kinds is not None:
        if len(kinds) != layers:
            raise fields.wrong("layer_types", f"num_hidden_layers = {layers} words")
        for kind in kinds:
            if kind not in _WHOLE | _WINDOWED:
                raise ConfigFileError(
                    f"{fields.name}: layer_types: {shown(kind, 40)}: such a layer is not counted; expected "
                    f"{', '.join(sorted(_WHOLE | _WINDOWED))}"
                )
    if not window:
        return 0, 0
    count = sum(by_default(layer) for layer in range(layers)) if kinds is None else sum(k in _WINDOWED for k in kinds)
    return count, window if count else 0
