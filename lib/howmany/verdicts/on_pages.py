"""Is a claim judged differently on two pages? The marks of all verdicts in executed chapters, read and compared."""

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from html import unescape
from pathlib import Path

_MARK = re.compile(r'<b data-claim="([^"]*)" data-by="([^"]*)">(.*?)</b>')

Marks = dict[tuple[str, str], dict[str, set[str]]]
"""Claim and whose verdict -> the words it is given -> the pages that give it."""


def marks(pages: Iterable[Path]) -> Marks:
    """The verdicts of executed notebooks or built pages.

    Args:
        pages: files; of a notebook executed several times the newest counts.
    """
    newest: dict[str, Path] = {}
    for path in sorted(pages, key=lambda each: each.stat().st_mtime):
        newest[path.name.partition(".")[0]] = path
    found: Marks = defaultdict(lambda: defaultdict(set))
    for name, path in newest.items():
        for claim, by, word in _MARK.findall(_text(path)):
            found[unescape(claim), unescape(by)][unescape(word)].add(name)
    return found


def different(found: Marks) -> list[str]:
    """One sentence for each claim that gets more than one verdict from one study or law."""
    return [
        f"{claim} by {by}: " + "; ".join(f"{word} on {', '.join(sorted(pages))}" for word, pages in words.items())
        for (claim, by), words in sorted(found.items())
        if len(words) > 1
    ]


def main(arguments: list[str]) -> int:
    """Say which claims are judged differently on two pages of a folder; 1 if there are any."""
    if len(arguments) != 1:
        print("usage: python -m howmany.verdicts.on_pages FOLDER, such as _build/executed/full", file=sys.stderr)
        return 2
    found = marks(path for kind in ("ipynb", "html") for path in Path(arguments[0]).rglob(f"*.{kind}"))
    if not found:
        print(f"{arguments[0]}: found no verdict, expected executed chapters; build the book first", file=sys.stderr)
        return 2
    sentences = different(found)
    print("\n".join(sentences) or f"{len(found)} verdicts, each the same on all pages")
    return 1 if sentences else 0


def _text(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    shown = (out.get("data", {}).get("text/html", "") for cell in cells for out in cell.get("outputs", []))
    return "\n".join("".join(each) for each in shown)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
