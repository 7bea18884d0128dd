"""The sizes a chapter runs at: the parameters cell and what a profile changes in it."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from moelaws.book.chapter import FULL, Page
from moelaws.book.error import BookError

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
        values[name] = _matched(page, profile, name, value, defaults[name])
    return values


def _defaults(page: Page, notebook: Any) -> Mapping[str, Any]:
    """Read names and, where they are literals, values of the parameters cell; None stands for "not a literal"."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code or TAG not in code[0].metadata.get("tags", []):
        found = repr(code[0].source.split("\n")[0]) if code else "no code cell"
        raise BookError(f"{page.name}.md: expected the first code cell to be tagged '{TAG}', found {found}")
    try:
        body = ast.parse(code[0].source).body
    except SyntaxError as error:
        raise BookError(f"{page.name}.md: line {error.lineno} of the parameters cell: {error.msg}") from error
    defaults: dict[str, Any] = {}
    for statement in body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name):
                defaults[target.id] = _literal(value)
    return defaults


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _matched(page: Page, profile: str, name: str, value: Any, default: Any) -> Any:
    """Give an override the type of its default: YAML reads `2e9` and `2.0e9` as text, people mean numbers."""
    if isinstance(default, list | tuple) and isinstance(value, list) and default:
        return [_matched(page, profile, name, item, default[0]) for item in value]
    if isinstance(default, bool) or not isinstance(default, int | float):
        return value
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise BookError(
            f"{page.name}.md: profile '{profile}' sets '{name}' to {value!r}; expected a number, as in the"
            f" parameters cell ({default!r})"
        )
    return int(number) if isinstance(default, int) and float(number).is_integer() else number
