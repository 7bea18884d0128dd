"""Formulas as MathML: a Sphinx extension that writes them into the page, which then needs no script to show them.

Named in `_config.yml`, among the extensions and as `html_math_renderer`.
"""

import html
import re
from typing import Any

from docutils import nodes

RENDERER = "mathml"

_FUNCTION = re.compile(
    r"(<mi>(?:ln|log|exp|max|min)</mi>|<m(sub|sup)><mi>(?:ln|log|exp|max|min)</mi>(?:(?!</m\2>).)*</m\2>)"
    r"(?=<m(?:i|n|sub|sup|subsup|over|frac|sqrt)>|<mover |<mrow><m[in]>)"
)
"""A named function and what it is taken of, where no bracket parts them."""


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the renderer."""
    app.add_html_math_renderer(RENDERER, (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def mathml(latex: str, display: str = "inline") -> str:
    r"""A formula as MathML; what was written stays with it, as `alttext`.

    Arguments:
        latex: the formula, without dollar signs. Lines that `\\` parts are aligned.
        display: `inline` or `block`.

    Returns:
        One `<math>` element.

    Raises:
        ValueError: the formula is not one that can be read.
    """
    from latex2mathml.converter import convert

    text = re.sub(r"(\\begin|\\end)\{(?:aligned|gathered)\}", r"\1{split}", latex.strip())
    if r"\\" in text and r"\begin" not in text:
        text = rf"\begin{{split}}{text}\end{{split}}"
    try:
        made = convert(text, display=display)
    except Exception as error:  # of many types, some without a word
        raise ValueError(f"{type(error).__name__} {error}".strip()) from error
    if unknown := re.search(r"<m[a-z]+>\\(\w+)</m", made):
        raise ValueError(f"no command \\{unknown[1]}")
    made = _FUNCTION.sub(r'\1<mspace width="0.17em"></mspace>', made)
    return made.replace("<math ", f'<math alttext="{html.escape(latex.strip())}" ', 1)


def _visit_inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(f'<span class="math">{_made(node, "inline")}</span>')
    raise nodes.SkipNode


def _visit_block(writer: Any, node: nodes.math_block) -> None:
    name = f' id="{node["ids"][0]}"' if node["ids"] else ""
    writer.body.append(f'<div class="math"{name}>{_made(node, "block")}')
    if node.get("number"):
        from sphinx.util.math import get_node_equation_number

        # As references to it say: (3.1), where chapters are numbered.
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def _made(node: nodes.Element, display: str) -> str:
    try:
        return mathml(node.astext(), display)
    except ValueError as error:
        from sphinx.util import logging

        logging.getLogger(__name__).warning("formula %r: %s", node.astext(), error, location=node)
        return html.escape(node.astext())
