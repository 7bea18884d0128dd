"""The page that maps the neighbours: who varies what, and what they agree on, written from two tables.

``python -m howmany.neighbours.map_page`` writes its two tables between their marks, after a change of the data.
"""

from pathlib import Path

import pandas as pd

FACTORS = {
    "E": "experts", "K": "at work", "G": "fineness", "S": "sparsity", "shared": "shared", "size": "size",
    "depth": "depth", "data": "tokens", "bytes": "bytes", "memory": "memory", "router": "router", "start": "start",
    "route": "route", "blend": "blend",
}  # fmt: skip
"""What a paper can vary, as the page's columns name it."""

_MARKS = ("% who", "% what", "% end")


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


def statement_table(folder: Path) -> str:
    """What they agree on, each with the chapter that tests it and our runs' word; MyST."""
    rows = pd.read_csv(folder / "neighbour_statements.csv", dtype=str, keep_default_na=False)
    lines = ["| statement | who says so | who doubts it | tested in | our models' word |", "|---|---|---|---|---|"]
    for row in rows.to_dict("records"):
        says, against = (
            ", ".join(f"{{cite:t}}`{key}`" for key in keys.split()) for keys in (row["says"], row["against"])
        )
        word = f"{{glue:text}}`chapters/{row['chapter']}:{row['word']}`"
        lines.append(f"| {row['statement']} | {says} | {against} | {{doc}}`chapters/{row['chapter']}` | {word} |")
    return "\n".join(lines)


def mapped(page: str, folder: Path) -> str:
    """The page with both tables as the data have them."""
    who, what, end = _MARKS
    before, _, rest = page.partition(f"{who}\n")
    _, _, rest = rest.partition(f"{end}\n")
    between, _, rest = rest.partition(f"{what}\n")
    _, _, after = rest.partition(f"{end}\n")
    if who not in page or what not in page or page.count(end) < 2:
        raise ValueError(f"the page lacks a mark: expected {', '.join(_MARKS)}")
    tables = paper_table(folder), statement_table(folder)
    return f"{before}{who}\n\n{tables[0]}\n\n{end}\n{between}{what}\n\n{tables[1]}\n\n{end}\n{after}"


if __name__ == "__main__":
    file = Path("neighbours.md")
    file.write_text(mapped(file.read_text(), Path("data/published")))
