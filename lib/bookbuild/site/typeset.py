"""Sphinx with Jupyter Book's settings, in a process of its own: `python -m bookbuild.site.typeset` and its arguments.

Jupyter Book's command does the same, and either writes only pages whose own text has changed, which leaves old titles
and numbers on the others, or forgets what it has read of all of them. Here Sphinx is told to write every page, reads
those that have changed, and `bookbuild.site.rewritten` takes out those that would be written as they are.
"""

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from bookbuild.site.rewritten import ONLY


def typeset(stage: Path, builder: str, jobs: int, pages: Sequence[str]) -> int:
    """Build a staged tree below its folder `_build`.

    Arguments:
        stage: the tree.
        builder: a builder of Sphinx's, such as `html`.
        jobs: processes that write pages; one alone reads them, because not all extensions could share that.
        pages: names of the pages to write, where the others are only read; all if there are none.

    Returns:
        0, or another number where anything is wrong, which Sphinx has printed.
    """
    import pybtex.plugin
    from jupyter_book.sphinx import build_sphinx

    # For each citation it would read what every installed package says of itself: a tenth of the whole time.
    pybtex.plugin.entry_points = cache(pybtex.plugin.entry_points)
    result = build_sphinx(
        stage,
        stage / "_build" / "html",
        noconfig=True,
        path_config=stage / "_config.yml",
        confoverrides={
            "external_toc_path": (stage / "_toc.yml").as_posix(),
            "latex_individualpages": False,
            **({ONLY: list(pages)} if pages else {}),
        },
        builder=builder,
        force_all=True,
        warningiserror=True,
        keep_going=True,
        quiet=True,
        jobs=jobs,
    )
    return int(result != 0)  # an exception is a result, too


if __name__ == "__main__":
    sys.exit(typeset(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
