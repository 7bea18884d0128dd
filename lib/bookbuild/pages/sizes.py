"""The sizes a chapter runs at: the parameters cell and what a profile changes in it."""

from collections.abc import Iterable, Mapping
from typing import Any

from bookbuild.error import BookError
from bookbuild.pages.chapter import FULL, Page
from moelaws.parameters import ParameterError, assigned, matched

TAG = "parameters"


def check_profile(profile: str, pages: Iterable[Page]) -> None:
    """Refuse a profile that no chapter knows: it is a typing error more often than a wish.

    Raises:
        BookError: the profile is neither `full` nor in the header of any page.
    """
    known = {FULL}.union(*(page.profiles for page in pages))
    if profile not in known:
        raise BookError(f"profile '{profile}': no chapter defines it; known are {', '.join(sorted(known))}")


def overrides(page: Page, notebook: Any, profile: str) -> Mapping[str, Any]:
    """Values that replace the defaults of the parameters cell under a profile.

    Arguments:
        page: the chapter, whose header describes its profiles.
        notebook: the same chapter as a notebook.
        profile: `full` for the defaults, or a name in the header; a chapter that does not know the name keeps its
            defaults.

    Returns:
        Variable name -> value, empty under `full`.

    Raises:
        BookError: the first code cell is not tagged `parameters`, or an override names a variable that it does not
            define or has another type.
    """
    defaults = _defaults(page, notebook)
    values = {}
    for name, value in page.profiles.get(profile, {}).items():
        if name not in defaults:
            raise BookError(
                f"{page.name}.md: profile '{profile}' sets '{name}', which the parameters cell does not define"
                f" (it defines {', '.join(sorted(defaults)) or 'nothing'})"
            )
        try:
            values[name] = matched(name, value, defaults[name])
        except ParameterError as error:
            raise BookError(f"{page.name}.md: profile '{profile}' sets {error}") from error
    return values


def _defaults(page: Page, notebook: Any) -> Mapping[str, Any]:
    """Read names and, where they are literals, values of the parameters cell; None stands for "not a literal"."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code or TAG not in code[0].metadata.get("tags", []):
        found = repr(code[0].source.split("\n")[0]) if code else "no code cell"
        raise BookError(f"{page.name}.md: expected the first code cell to be tagged '{TAG}', found {found}")
    try:
        return assigned(code[0].source)
    except SyntaxError as error:
        raise BookError(f"{page.name}.md: line {error.lineno} of the parameters cell: {error.msg}") from error
