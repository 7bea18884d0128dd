"""The text of a chapter as plain Markdown: what JupyterLab, Colab and a viewer of notebooks show without Sphinx.

Numbers that the chapter glues stand in the text as they were recorded, references are links, and boxes are quotations.
"""

import ast
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bookbuild.error import BookError
from bookbuild.numbers import read_numbers
from bookbuild.pages.chapter import Page, read_page
from bookbuild.pages.references import Reference, read_references
from bookbuild.pages.toc import read_toc

NUMBERS = "chapters/numbers.json"
"""The values of the last recorded build, which notebooks that nobody has executed show."""

UNKNOWN = "…"
"""Stands for a value that is not recorded yet."""

_ROLE = re.compile(r"\{([a-z:]+)\}`([^`]+)`")
_FENCE = re.compile(
    r"^(?P<fence>:{3,}|`{3,})\{(?P<kind>[a-z-]+)\} *(?P<title>.*)\n(?P<body>(?:.*\n)*?)(?P=fence) *$", re.MULTILINE
)
_QUOTED = re.compile(r"\{glue:text\}`(?P<page>[\w-]+(?:/[\w-]+)+):(?P<key>\w+)`")
_LABELLED = re.compile(r"^\$\$ *\(([\w-]+)\) *$", re.MULTILINE)
_HERE = re.compile(r"(?<=\]\(#)([\w-]+)(?=\))")
_HEADING = re.compile(r"(?:^\(([\w-]+)\)=\n+)?^#{1,3} +(.+?) *$", re.MULTILINE)
_TARGET = re.compile(r"^\([\w-]+\)=\n", re.MULTILINE)
_EXERCISE = re.compile(r"^[:`]{3,}\{exercise(?:-start)?\}.*\n(?::(?!label:).*\n)*:label: *(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Book:
    """What the pages of a book know of each other.

    Arguments:
        root: its folder.
        numbers: page -> key -> text of a glued value.
    """

    root: Path
    numbers: Mapping[str, Mapping[str, str]]

    def value(self, page: str, key: str) -> str:
        """The text of a glued value; empty where it is not known."""
        value = self.numbers.get(page, {}).get(key, "")
        # A text is recorded as Python writes it.
        return str(ast.literal_eval(value)) if value[:1] in ("'", '"') else value

    @cached_property
    def titles(self) -> Mapping[str, tuple[str, bool]]:
        """Page -> its title, and whether it is a notebook."""
        pages = [read_page(self.root, name) for name in read_toc(self.root)]
        return {page.name: (_title(page), page.is_notebook) for page in pages}

    @cached_property
    def exercises(self) -> Mapping[str, str]:
        """Label of an exercise -> the page that asks it."""
        return {label: name for name in self.titles for label in _EXERCISE.findall(read_page(self.root, name).text)}

    @cached_property
    def references(self) -> Mapping[str, Reference]:
        """Key -> who wrote it, when, and where it is."""
        return read_references(sorted(self.root.glob("*.bib")))


def read_book(root: Path) -> Book:
    """A book with the numbers recorded in it."""
    recorded = root / NUMBERS
    return Book(root, read_numbers(recorded) if recorded.is_file() else {})


def readable(text: str, page: str, book: Book) -> str:
    """A text cell without what only Sphinx knows.

    Arguments:
        text: MyST Markdown.
        page: name of the page that it is from.
        book: where titles, references and numbers are looked up.

    Returns:
        Markdown; empty where the cell only closed a box.

    Raises:
        BookError: a role or a box that has no plain form yet, or a page or reference that there is not.
    """
    text = _QUOTED.sub(lambda found: book.value(found["page"], found["key"]) or UNKNOWN, text)
    labels = [*dict.fromkeys(_LABELLED.findall(read_page(book.root, page).text))]
    text = _LABELLED.sub("$$", _TARGET.sub("", text))
    text = _FENCE.sub(lambda found: _box(found, page, book), text)
    roles = _Roles(page, book, labels)
    text = _HERE.sub(lambda found: _place(found[1], page, book), text)
    text = re.sub(r"(?<!`)" + _ROLE.pattern, lambda found: roles.plain(found[1], found[2]), text)
    whole = re.compile(r"\*\*Solution\.\*\*\n\n(.*?)\n*<!-- end of the solution -->", re.DOTALL)
    text = whole.sub(r"<details><summary>Solution</summary>\n\n\1\n\n</details>", text)
    return re.sub(r"\n{3,}", "\n\n", text.replace("<!-- end of the solution -->", "")).strip()


def quoted(text: str, page: str, book: Book) -> str:
    """A text whose quotations of other pages' numbers are filled in: ``{glue:text}`chapters/isoflop:if_slope```.

    Sphinx knows a page's own numbers only, and the front page has none.

    Arguments:
        text: MyST Markdown.
        page: name of the page that it is from.
        book: its numbers are those of the build.

    Raises:
        BookError: a chapter that glued no such number.
    """
    return _QUOTED.sub(lambda found: _quotation(found, page, book), text)


def _quotation(found: re.Match[str], page: str, book: Book) -> str:
    if not (value := book.value(found["page"], found["key"])):
        raise BookError(f"{page}.md: quotes {found['key']!r} of {found['page']}, which glued nothing of that name")
    return value


def _title(page: Page) -> str:
    found = re.search(r"^# (.+)$", page.text, flags=re.MULTILINE)
    return found[1] if found else page.stem


def _place(target: str, page: str, book: Book) -> str:
    """Where a link to a heading of its own page leads in JupyterLab, which names headings in a way of its own."""
    for label, heading in _HEADING.findall(read_page(book.root, page).text):
        if target in (label, re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))):
            return str(heading).replace(" ", "-")
    raise BookError(f"{page}.md: refers to the heading '#{target}', and there is none on this page")


def _box(found: re.Match[str], page: str, book: Book) -> str:
    kind, title = found["kind"], found["title"].strip()
    body = re.sub(r"\A(?::[a-z-]+:.*\n)+\n*", "", found["body"]).strip("\n")
    if kind in ("exercise", "exercise-start"):
        return f"**Exercise{f' ({title})' if title else ''}.**\n\n{body}".rstrip() + "\n"
    if kind in ("solution", "solution-start"):
        end = "\n\n<!-- end of the solution -->" if kind == "solution" else ""
        return f"**Solution.**\n\n{body}".rstrip() + end + "\n"
    if kind == "solution-end":
        return "<!-- end of the solution -->"
    if kind == "exercise-end":
        return ""
    if kind in ("admonition", "warning", "note", "tip", "important", "caution"):
        head = title if kind == "admonition" else " ".join([kind.capitalize() + ".", title]).strip()
        return "\n".join(f"> {line}".rstrip() for line in [f"**{head}**", "", *body.splitlines()])
    if kind in ("figure", "image"):
        caption = body.strip()
        return f"![]({title})" + (f"\n\n*{caption}*" if caption else "")
    if kind == "literalinclude":
        return _included(found, page, book)
    if kind == "math":
        return f"$$\n{body}\n$$"
    if kind == "dropdown":
        return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
    if kind == "glossary":
        return body
    if kind == "eval-rst":  # of the page of public names
        return "\n".join(f"- `{name}`" for name in re.findall(r"\.\. auto\w+:: (\S+)", body))
    if kind == "raw":
        return ""
    if kind == "bibliography":
        return "The list itself is made from `references.bib`."
    raise BookError(f"{page}.md: a box of the kind '{kind}' has no plain form for notebooks; bookbuild knows none")


def _included(found: re.Match[str], page: str, book: Book) -> str:
    """The code itself, as the page shows it: a notebook may lie where the file that it is from does not."""
    options = dict(re.findall(r"^:(\w+): *(\S+)", found["body"], flags=re.MULTILINE))
    file = (book.root / page).parent / found["title"].strip()
    try:
        code = file.read_text(encoding="utf-8")
        if name := options.get("pyobject"):
            code = next(
                ast.get_source_segment(code, node) or ""
                for node in ast.parse(code).body
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
            )
    except (OSError, UnicodeDecodeError, SyntaxError, StopIteration):
        what = " ".join(filter(None, [options.get("pyobject", ""), "of", found["title"].strip()]))
        raise BookError(f"{page}.md: shows the code {what}, and there is none") from None
    return f"```{options.get('language', 'python')}\n{code.rstrip()}\n```"


@dataclass(frozen=True)
class _Roles:
    page: str
    book: Book
    labels: list[str]

    def plain(self, role: str, content: str) -> str:
        """What stands for a role."""
        words, _, target = content.rstrip(">").partition("<") if content.endswith(">") else ("", "", content)
        known: dict[str, Callable[[str, str], str]] = {
            "glue:text": self._value, "glue:": self._value, "glue": self._value,
            "doc": self._link, "eq": self._equation, "ref": self._exercise,
            "term": lambda words, target: words or target,
            "cite:t": lambda words, target: self._cited(target, "{authors} ({year})"),
            "cite:p": lambda words, target: self._cited(target, "({authors}, {year})"),
            "cite": lambda words, target: self._cited(target, "({authors}, {year})"),
        }  # fmt: skip
        if role not in known:
            raise BookError(f"{self.page}.md: the role '{role}' has no plain form for notebooks; bookbuild knows none")
        return known[role](words.strip(), target)

    def _value(self, _: str, target: str) -> str:
        key, _, form = target.partition(":")
        value = self.book.value(self.page, key) or UNKNOWN
        try:
            return format(float(value), form) if form else value
        except ValueError:
            return value

    def _link(self, words: str, target: str) -> str:
        folder = posixpath.dirname(self.page)
        name = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
        if name not in self.book.titles:
            raise BookError(f"{self.page}.md: refers to the page '{target}', and there is none")
        title, notebook = self.book.titles[name]
        return f"[{words or title}]({posixpath.relpath(name, folder or '.')}{'.ipynb' if notebook else '.md'})"

    def _exercise(self, words: str, target: str) -> str:
        if target not in self.book.exercises:
            raise BookError(f"{self.page}.md: refers to the exercise '{target}', and there is none")
        return self._link(words or f"`{target}`", f"/{self.book.exercises[target]}")

    def _equation(self, _: str, target: str) -> str:
        if target not in self.labels:
            raise BookError(f"{self.page}.md: refers to the equation '{target}', and there is none on this page")
        return f"equation ({self.labels.index(target) + 1})"

    def _cited(self, target: str, form: str) -> str:
        said = []
        for key in map(str.strip, target.split(",")):
            if key not in self.book.references:
                raise BookError(f"{self.page}.md: cites '{key}', and no .bib file of the book has it")
            one = self.book.references[key]
            words = form.format(authors=one.authors, year=one.year)
            said.append(f"[{words}]({one.url})" if one.url else words)
        return ", ".join(said)
