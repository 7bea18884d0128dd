"""The theme's icons: of the two thousand that its script holds, those that the pages show."""

import re
from pathlib import Path

SCRIPT = "_static/scripts/fontawesome.js"

_ICON = re.compile(
    r"""(?:"(?P<quoted>[\w-]+)"|(?P<bare>\w+)):\[\d+,\d+,\[(?P<aliases>[^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?"""
)
_NAME = re.compile(r"\bfa-([a-z0-9-]+)")


def trim_icons(site: Path) -> None:
    """Leave out of the theme's script all icons that no page and no other script of the site names.

    A script that is written in another way than this knows stays whole: pages are then heavier, and right.

    Arguments:
        site: folder of the built site.
    """
    script = site / SCRIPT
    if not script.is_file():
        return
    used: set[str] = set()
    for path in (*site.glob("**/*.html"), *site.glob("**/*.js")):
        if path != script:
            used.update(_NAME.findall(path.read_text(encoding="utf-8")))

    def kept(icon: re.Match[str]) -> str:
        names = {icon["quoted"] or icon["bare"], *re.findall(r'"([\w-]+)"', icon["aliases"])}
        return icon[0] if names & used else ""

    text = script.read_text(encoding="utf-8")
    script.write_text(_ICON.sub(kept, text), encoding="utf-8")
