"""Definitions where the pointer rests on a term: a Sphinx extension that gives links to the glossary a title."""

from typing import Any

from docutils import nodes

GLOSSARY = "glossary"
LONGEST = 300
"""Letters of a definition; the link leads to the rest."""


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the extension."""
    app.connect("doctree-resolved", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def definitions(glossary: nodes.document) -> dict[str, str]:
    """Anchor of each term -> its definition on one line."""
    found: dict[str, str] = {}
    for item in glossary.findall(nodes.definition_list_item):
        meaning = next(iter(item.findall(nodes.definition)), None)
        if meaning is not None:
            text = " ".join(meaning.astext().split())
            short = text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + " …"
            found |= {anchor: short for term in item.findall(nodes.term) for anchor in term["ids"]}
    return found


def _write(app: Any, page: nodes.document, name: str) -> None:
    links = [each for each in page.findall(nodes.reference) if f"{GLOSSARY}.html#term-" in each.get("refuri", "")]
    if links and GLOSSARY in app.env.found_docs:
        known = definitions(app.env.get_doctree(GLOSSARY))
        for link in links:
            if meaning := known.get(link["refuri"].split("#")[-1]):
                link["reftitle"] = meaning
