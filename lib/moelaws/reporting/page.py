"""The page as HTML: everything of the reader's is escaped, nothing is loaded from anywhere."""

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

from moelaws.reporting.page_parts import Section, written

BEGINNING = "<!DOCTYPE html>\n<!-- moelaws report -->"
"""Of every such page, by which it is known."""


def page_of(name: str, findings: Sequence[tuple[str, str]], sections: Sequence[Section]) -> str:
    """The page.

    Args:
        name: of the table.
        findings: anchor and sentence, for the head of the page.
        sections: its parts, in order.
    """
    titles = {each.key: each.title for each in sections}
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return BEGINNING + _template().render(name=name, findings=findings, sections=sections, style=style, titles=titles)


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["written"] = written
    return environment.from_string(files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8"))
