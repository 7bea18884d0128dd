"""The fields of somebody's ``config.json``: of the kind and within the bounds that a count needs, or a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moelaws.json_file import JsonFileError, whole_in
from moelaws.quote import shown

MOST = 10**9
"""Of any width or count of tokens."""
MOST_LAYERS = 10_000
"""Far beyond every model; a list of as many layers is still read in no time."""


class ConfigFileError(ValueError):
    """A configuration that cannot be counted; the message names the file, the field, what was found and expected."""


@dataclass(frozen=True)
class Fields:
    """What a file says. A field that is null counts as absent, as the program that wrote such files takes it.

    Attributes:
        content: the object in the file.
        name: of the file, for messages.
    """

    content: Mapping[str, Any]
    name: str

    def whole(self, *keys: str, absent: int | None = None, least: int = 1, most: int = MOST) -> int:
        """A whole number, under the first of several names that is there.

        Args:
            keys: names that programs give one field, such as ``num_experts`` and ``num_local_experts``.
            absent: its value where none is there; by default the field is needed.
            least, most: bounds of what a file may say.
        """
        for key in keys:
            if self.content.get(key) is not None:
                return self._checked(key, least, most)
        if absent is None:
            raise ConfigFileError(f"{self.name}: no field {keys[0]!r}; expected a whole number")
        return absent

    def optional(self, key: str, absent: int) -> int:
        """A whole number that may be none at all: 0 where the file says null, ``absent`` where it says nothing."""
        return self.whole(key, absent=0 if key in self.content else absent, least=0)

    def flag(self, key: str, absent: bool = False) -> bool:
        """Yes or no."""
        value = self.content.get(key)
        if value is None:
            return absent
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def listed(self, key: str, kind: type[int] | type[str], most: int = MOST_LAYERS) -> list[Any] | None:
        """A list of whole numbers or of words, or ``None`` where there is none."""
        value = self.content.get(key)
        if value is None:
            return None
        what = "whole numbers" if kind is int else "words"
        if not isinstance(value, list) or len(value) > most:
            raise self.wrong(key, f"a list of at most {most} {what}")
        for one in value:
            if not isinstance(one, kind) or isinstance(one, bool):
                raise ConfigFileError(f"{self.name}: {key}: expected a list of {what}, found {_said(one)} in it")
        return value

    def wrong(self, key: str, expected: str) -> ConfigFileError:
        """The complaint about a field of the wrong kind."""
        return ConfigFileError(f"{self.name}: {key} = {_said(self.content.get(key))}: expected {expected}")

    def _checked(self, key: str, least: int, most: int) -> int:
        try:
            return whole_in(dict(self.content), key, self.name, least, most)
        except JsonFileError as error:
            raise ConfigFileError(str(error)) from None


def _said(value: Any) -> str:
    match value:
        case dict():
            return "an object"
        case list():
            return f"a list of {len(value)}"
        case int() if abs(value) > 10**60:
            return "a whole number of more than 60 digits"
    return shown(value)
