"""The page that maps the neighbours: what they agree on, and who varies what, written from two tables.

``python -m howmany.neighbours.map_page`` writes the table of papers and the list of statements between their
marks, after a change of the data.
"""

from pathlib import Path

import pandas as pd

FACTORS = {
    "E": "experts", "K": "at work", "G": "fineness", "S": "sparsity", "shared": "shared", "size": "size",
    "depth": "depth", "data": "tokens", "bytes": "bytes", "memory": "memory", "router": "router", "start": "start",
    "route": "route", "blend": "blend",
}  # fmt: skip
"""What a paper can vary, as the page's columns name it."""

_WHAT, _WHO, _END = "% what", "% who", "% end"


def paper_table(folder: Path) -> str:
    """Who varies what: a row a paper; MyST."""
    papers = pd.read_csv(folder / "neighbour_papers.csv", dtype=str, keep_default_na=False)
    lines = ["| paper | varies | scale | training FLOPs | read |", "|---|---|---|---|---|"]
    for row in papers.to_dict("records"):
        unknown = set(row["varies"].split()) - set(FACTORS)
        if unknown:
            raise ValueError(
                f"neighbour_papers.csv: {row['paper']}: varies {sorted(unknown)[0]!r}, expected {[*FACTORS]}"
            )
        varied = ", ".join(FACTORS[name] for name in FACTORS if name in row["varies"].split())
        flops = f"{row['flops_from']} to {row['flops_to']}" if row["flops_from"] else "not found"
        lines.append(f"| {{cite:t}}`{row['paper']}` | {varied} | {row['scale']} | {flops} | {row['read']} |")
    return "\n".join(lines)


def statement_list(folder: Path) -> str:
    """What they agree on, by the chapter that tests it, each statement with our runs' word; MyST."""
    rows = pd.read_csv(folder / "neighbour_statements.csv", dtype=str, keep_default_na=False)
    lines: list[str] = []
    for chapter, statements in rows.groupby("chapter", sort=False):
        lines += [f"{{doc}}`chapters/{chapter}`", ""]
        for row in statements.to_dict("records"):
            says, against = (
                ", ".join(f"{{cite:t}}`{key}`" for key in keys.split()) for keys in (row["says"], row["against"])
            )
            word = f"{{glue:text}}`chapters/{chapter}:{row['word']}`"
            doubt = f"; doubted by {against}" if against else ""
            lines += [f"- {row['statement']}: *{word}*.", f"  Said by {says}{doubt}."]
        lines.append("")
    return "\n".join(lines).rstrip()


def mapped(page: str, folder: Path) -> str:
    """The page with its table of papers and its list of statements as the data have them."""
    parts, rest = [], page
    for mark, made in ((_WHAT, statement_list(folder)), (_WHO, paper_table(folder))):
        before, found, rest = rest.partition(f"{mark}\n")
        _, ended, rest = rest.partition(f"{_END}\n")
        if not found or not ended:
            raise ValueError(f"the page lacks a mark: expected {_WHAT}, {_END}, {_WHO}, {_END}, in this order")
        parts.append(f"{before}{mark}\n\n{made}\n\n{_END}\n")
    return "".join(parts) + rest


if __name__ == "__main__":
    file = Path("neighbours.md")
    file.write_text(mapped(file.read_text(), Path("data/published")))
