"""What is wrong with how a command ended: a traceback, a hang, a long message, a file of the reader's changed."""

from fuzz.command import Input
from fuzz.run import Ending
from fuzz.words import OUTPUTS

CODES = {0, 1, 2, 3, 130}
LONGEST_MESSAGE = 400
MOST_MEGABYTES = 2_000
_NOISE = ("Traceback", "Exception ignored", "Warning:", "internal error", "leaked", "Fatal Python")


def objections(one: Input, ending: Ending) -> list[str]:
    """One phrase for each rule that was broken; none for a command that ended as it should."""
    found = []
    if ending.hung:
        found.append("hung")
    elif ending.code not in CODES:
        found.append(f"exit code {ending.code}")
    if one.refuse and ending.code != 2:
        found.append(f"exit code {ending.code} for what can only be wrong")
    if ending.left:
        found.append("processes left")
    if ending.megabytes > MOST_MEGABYTES:
        found.append(f"{ending.megabytes:.0f} MB")
    found += [f"{word!r} on standard error" for word in _NOISE if word in ending.err]
    lines = ending.err.splitlines()
    if any(len(line) > LONGEST_MESSAGE for line in lines):
        found.append(f"a message of {max(map(len, lines))} characters")
    for name, text in (("error", ending.err), ("output", ending.out)):
        if any(not line.isprintable() for line in text.split("\n")):
            found.append(f"control characters on standard {name}")
    if ending.code in (2, 3):
        if len(lines) != 1:
            found.append(f"{len(lines)} lines on standard error")
        if ending.out and ending.code == 2:
            found.append("output before a refusal")
    if ending.code == 1 and not lines and one.command != "rerun":
        found.append("failed without a word")
    found += [f"changed {name!r}" for name in ending.changed if not _may_change(name, one, ending)]
    return found


def _may_change(name: str, one: Input, ending: Ending) -> bool:
    """Whether a file is what was asked for; a sweep that fails or is stopped keeps its rows."""
    # The file itself, what is in it where it is a folder, and the folder that was made for it.
    asked = any(f"{name}/".startswith(f"{out}/") or f"{out}/".startswith(f"{name}/") for out in _asked(one))
    if one.command in ("sweep", "probe"):
        return asked and ending.code in (0, 1, 130)
    return asked and ending.code in (0, 1)


def _asked(one: Input) -> set[str]:
    wanted = set(one.outputs)
    for word in one.argv:
        option, sign, value = word.partition("=")
        if sign and option in OUTPUTS:
            wanted.add(value)
    if "dangling.csv" in wanted:
        wanted.add("nowhere.csv")  # written through the link
    # A table is locked by a file beside it, as long as it is written.
    wanted |= {f"{name}.lock" for name in wanted}
    return wanted - {""}
