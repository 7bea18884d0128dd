"""What the words of a column's name say, where no list has it: ``config.num_moe_experts``, ``val/loss (nats)``."""

import re
from functools import lru_cache
from itertools import permutations

from moelaws.importing.preset import Wording, places, wordings

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+")
_PLACE = re.compile(r"([^./]+)[./](.+)", re.DOTALL)
_FLOPS = re.compile(r"FLOPS?", re.IGNORECASE)
_LONGEST = 12
"""Words that a name may have: a longer one is a sentence."""

Rank = tuple[int, bool, int]
"""How good a match is, less is better: the line of words, whether there are words of no list, how many beside."""


@lru_cache(2**16)
def words(name: str) -> tuple[str, ...]:
    """A name's words in lower case: ``numMoEExperts`` and ``num_moe_experts`` alike."""
    name = _FLOPS.sub(lambda found: found[0].lower(), name.replace("MoE", "Moe"))
    return tuple(word.lower() for word in _WORDS.findall(name))


def rank(name: str, ours: str) -> Rank | None:
    """How well a name, without its unit, says that it is this column of the book's; None where it does not."""
    wording = wordings().get(ours)
    if wording is None:
        return None
    found = _rank(words(name), wording)
    part = _PLACE.fullmatch(name)
    if found is None and part is not None and part[1].strip().lower() in places():
        return rank(part[2], ours)
    return found


def _rank(said: tuple[str, ...], wording: Wording) -> Rank | None:
    if len(said) > _LONGEST:
        return None
    for line, groups in enumerate(wording.of):
        if any(group.isdisjoint(said) for group in groups):
            continue
        for chosen in permutations(range(len(said)), len(groups)):
            if all(said[i] in group for i, group in zip(chosen, groups, strict=True)):
                rest = [word for i, word in enumerate(said) if i not in chosen]
                others = not wording.beside.issuperset(rest)
                if not others or (wording.but is not None and wording.but.isdisjoint(rest)):
                    return line, others, len(rest)
    return None
