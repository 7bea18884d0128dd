"""Files that look like tables, fits, texts or sweeps, and are something else; by name."""

import bz2
import gzip
import json
import lzma
import os
import zipfile
from functools import cache
from io import BytesIO
from types import MappingProxyType

import numpy as np

from fuzz.good import FIT, runs


@cache
def tables() -> MappingProxyType[str, bytes]:
    """Files that are called tables, by name; made once, since bombs take a while to pack."""
    good = runs().to_csv(index=False)
    lines = good.splitlines()
    head, first = lines[0], lines[1]
    rest = first.partition(",")[2]
    bomb = gzip.compress(b"0," * 20_000_000, 9)
    cells = {
        "nan": "nan",
        "inf": "inf",
        "text": "low",
        "zero": "0",
        "negative": "-3",
        "huge": "1e999",
        "empty": "",
        "ansi": "\x1b[31m3\x1b[0m",
        "formula": "=1+1",
        "giant": "9" * 5000,
        "spaces": " 3.1 ",
        "comma": '"3,1"',
    }
    found = {f"cell_{name}.csv": "\n".join([head, f"{cell},{rest}", *lines[2:]]) for name, cell in cells.items()}
    found |= {
        "empty.csv": "",
        "newline.csv": "\n",
        "blanks.csv": "\n \n,,\n",
        "header.csv": head,
        "one_row.csv": f"{head}\n{first}",
        "ragged.csv": f"{head}\n{first},9\n{first[:-20]}\n",
        "twice.csv": "\n".join([head, first, first]),
        "same_names.csv": "loss,loss,tokens\n3,4,5\n",
        "no_names.csv": ",,\n1,2,3\n",
        "quote.csv": f'{head}\n"{first}\n',
        "one_column.csv": "loss\n" + "3\n" * 30,
        "semicolons.csv": good.replace(",", ";"),
        "tabs.csv": good.replace(",", "\t"),
        "returns.csv": good.replace("\n", "\r"),
        "nul.csv": good.replace("3", "\0"),
        "ansi_header.csv": good.replace("loss", "\x1b[31mloss\x1b[0m"),
        "bidi.csv": good.replace("tokens", "\u202etokens"),
        "long_cell.csv": f"{head},note\n" + "\n".join(f"{line},{'x' * 200_000}" for line in lines[1:4]),
        "long_name.csv": good.replace("seed", "s" * 200_000),
        "wide.csv": _wide(3_000),
        "flat.csv": runs().assign(loss=3.0).to_csv(index=False),
        "status.csv": good.replace("finished", "\x1b[31mdone"),
        "unfinished.csv": good.replace("finished", "crashed"),
        "dense.csv": runs().assign(n_experts=1, total_params=runs()["active_params"]).to_csv(index=False),
        "sparse.csv": runs().assign(sparsity=2.0).to_csv(index=False),
        "infinite.csv": runs().assign(tokens=np.inf).to_csv(index=False),
        "tiny.csv": runs().assign(tokens=1e-300, total_params=1e-300).to_csv(index=False),
        "vast.csv": runs()
        .assign(tokens=1e300, total_params=1e300, train_flops=1e300, budget=1e300)
        .to_csv(index=False),
        "json_in.csv": json.dumps(FIT),
        "list.csv": "[" * 50_000,
        "html.csv": "<html><body>404</body></html>",
    }
    whole = good.encode()
    packed = {
        "bom.csv": b"\xef\xbb\xbf" + whole,
        "utf16.csv": good.encode("utf-16"),
        "latin.csv": whole + b"\xff\xfe,1\n",
        "binary.csv": bytes(range(256)) * 40,
        "bad.csv.gz": b"not gzip",
        "cut.csv.gz": gzip.compress(whole)[:-30],
        "bomb.csv.gz": bomb * 80,
        "bad.csv.bz2": bz2.compress(whole)[:50],
        "bad.csv.xz": lzma.compress(whole)[:50],
        "bad.csv.zip": _zip(whole)[:80],
        "two.csv.zip": _zip(whole, "a.csv", "b.csv"),
        "good.csv.zip": _zip(whole),
        "bad.csv.zst": b"(\xb5/\xfd" + whole[:50],
        "bad.parquet": b"PAR1" + whole[:200] + b"PAR1",
        "empty.parquet": b"",
        "lines.jsonl": b"\n".join(json.dumps({"loss": 3.0, "tokens": i}).encode() for i in range(30)),
        "bad.jsonl": b'{"loss": 3}\n{"loss": [3, {}]}\n{',
        "table.xlsx": _zip(b"<xml/>", "xl/workbook.xml"),
    }
    texts = {name: text.encode("utf-8", "surrogatepass") for name, text in found.items()}
    return MappingProxyType(texts | packed)


@cache
def others() -> MappingProxyType[str, bytes]:
    """Files that are no tables: texts, JSON of every wrong kind, Python that is none."""
    found = {
        "list.json": b"[]",
        "empty.json": b"",
        "deep.json": b"[" * 100_000,
        "deep_object.json": b'{"a":' * 50_000,
        "number.json": b"3",
        "nan.json": b'{"law": NaN}',
        "digits.json": b"9" * 5_000,
        "latin.json": b'{"a": "\xff"}',
        "precious.json": b'{"my": "only copy"}',
        "cut.json": json.dumps(FIT).encode()[:-20],
        "null.json": b"null",
        "many.json": json.dumps({f"x{i}": i for i in range(50_000)}).encode(),
        "long.json": json.dumps(FIT | {"law": "x" * 100_000}).encode(),
        "own_no_newline.csv": b"run_id,loss\n1,2\n3,4",
        "divides.py": b"1 / 0\n",
        "unreadable.py": b"def f(:\n",
        "nul.py": b"\0\0",
        "exits.py": b"raise SystemExit(0)\n",
        "odd.py": b"def f():\n    return 3\n\ndef g():\n    raise KeyError('\x1b[31m')\n\ndef h(x):\n    return []\n",
        "endless.py": b"import itertools\n\ndef f():\n    return itertools.repeat(1)\n",
        "binary.txt": bytes(range(256)),
        "blank.txt": b" \n" * 99,
        "one.txt": b"a",
        "short.txt": b"one word\n",
        "-dash.csv": b"loss\n3\n",
        "new\nline.csv": b"loss\n3\n",
        "\x1b[31m.csv": b"loss\n3\n",
        os.fsdecode(b"\xff\xfe.csv"): b"loss\n3\n",
    }
    return MappingProxyType(found)


def _wide(columns: int) -> str:
    names = ",".join(f"c{i}" for i in range(columns))
    return "\n".join([f"loss,tokens,{names}"] + [f"3.{i},1e{i + 3}{',' * columns}" for i in range(5)])


def _zip(content: bytes, *names: str) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names or ("good.csv",):
            archive.writestr(name, content)
    return packed.getvalue()
