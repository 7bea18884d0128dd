"""Command lines that hand over a file, a folder or a name that is not what the command takes."""

import random
from collections.abc import Iterator

from fuzz import mutations, nasty
from fuzz.command import Input
from fuzz.files import BROKEN, EXPORTED
from fuzz.words import BASES

PRESETS = ("auto", "wandb", "levanter", "marin", "trainer", "tensorboard")


def tables(rng: random.Random) -> Iterator[Input]:
    names = [
        *nasty.tables(),
        "loop.csv",
        "dangling.csv",
        "folder.csv",
        "pipe.csv",
        "/dev/zero",
        "/dev/null",
        "",
        "good.csv/x",
    ]
    names += [
        "lists.parquet",
        "loss_lists.parquet",
        "structs.parquet",
        "times.parquet",
        "new\nline.csv",
        "\x1b[31m.csv",
    ]
    names += ["\udcff\udcfe.csv", "-dash.csv", "precious.json", "small", "giant.txt", "link.csv", "good.parquet"]
    for name in names:
        yield Input(("runs", "--", name), "a table that is none")
        yield Input(("runs", "--", "ours.csv", name), "tables of a class, one of them none")
        for base in rng.sample(
            ("fit", "isoflop", "rerun", "probe", "plan", "compare", "predict", "speedup", "next", "report"), 3
        ):
            line = (
                ("plan", "--train-flops", "1e20", "--timings", name)
                if base == "plan"
                else (base, name, *BASES[base][2:])
            )
            yield Input(line, "a table that is none")


def steps(rng: random.Random) -> Iterator[Input]:
    """Tables of training steps that are none."""
    for name in rng.sample(sorted(nasty.tables()), 6):
        line = (*BASES["speedup"], "--device", "h200", "--steps", name)
        yield Input(line, "a table of steps that is none", refuse=True)


def imports(rng: random.Random) -> Iterator[Input]:
    """Every preset on folders that hold rubbish under the right names, and on tables of all kinds."""
    folders = [f"export_{word}_{name.split('.')[0]}" for word in BROKEN for name in EXPORTED] + [
        "export_nothing",
        "small",
    ]
    for name in folders:
        yield Input(("runs", name), "a folder of runs that are none")
        yield Input(("runs", name, "--map", rng.choice(PRESETS)), "a folder of runs that are none")
    for preset in PRESETS:
        for name in (*rng.sample(sorted(nasty.tables()), 6), "good.csv", "folder.csv", "pipe.csv", "nothing"):
            yield Input(("runs", "--map", preset, "--", name), "a preset on a table")


def models(rng: random.Random) -> Iterator[Input]:
    names = [f"model_{n}" for n in ("zero", "short", "vast", "long", "deep", "cut", "half", "text", "pickle", "bare")]
    names += [f"config_{n}" for n in ("list", "deep", "nan", "empty", "digits", "latin")]
    names += [name for name in nasty.others() if name.endswith(".json")] + [
        "/dev/zero",
        "pipe.json",
        "giant.json",
        "folder.json",
    ]
    for name in names:
        for command in ("measure", "upcycle", "compress", "blend"):
            yield Input((command, name, *BASES[command][2:]), "a model that is none", refuse=True)
        yield Input(("count", name), "a model that is none")
        yield Input(("export", "gguf", name, "model.gguf"), "a model that is none", refuse=True)
        if len(name) % 3 == 0:
            yield Input(("plan", "--model", name), "a model that is none")
            yield Input(("measure", name, "--predict", "--batch", "1"), "a model that is none")
            yield Input(("measure", "mixtral", "--predict", "--batch", "1", "--loads", name), "loads that are none")
    for name in ("", "mixtral", "gpt-oss\0", "n" * 300, "x" * 87_000, "\x1b[31m", "absent/config.json", "good.csv"):
        yield Input(("count", name), "a model that is none")
    for text in (
        "d=0",
        "d=7",
        "d=999999999999",
        "E=0",
        "K=9,E=8",
        "d=²",
        "G=3",
        "V=999999999",
        "d=64,E=99999999",
        "T=0",
    ):
        yield Input(("measure", f"tiny:{text}", *BASES["measure"][2:]), "a model that is none", refuse=True)
    yield Input(("measure", "tiny:d=16", "--batch", "65536", "--prompt", "1000000"), "too much to measure", refuse=True)
    yield Input(("measure", "small", "--calibrate"), "two wishes at once", refuse=True)
    yield Input(("measure", "--calibrate", "--clock", "processor", "--threads", "2"), "clock of threads", refuse=True)
    yield Input(("measure", "small", *BASES["measure"][2:]), "as it should be")
    for name in rng.sample(sorted(nasty.tables()), 12):
        yield Input(("measure", "small", *BASES["measure"][2:], "--out", name), "a table to put rows into")


def sweeps() -> Iterator[Input]:
    base = ("--out", "swept.csv", "--workers", "1", "--limit", "1")
    for name in (
        "divides:f",
        "unreadable:f",
        "nul:f",
        "exits:f",
        "odd:f",
        "odd:g",
        "odd:h",
        "endless:f",
        "tiny_sweeps:giant",
        "tiny_sweeps:nothing",
        ":",
        "a:",
        ":b",
        "..:f",
        "os:system",
        "x" * 87_000,
        "\x1b[31m:f",
        "a b:c",
        "",
    ):
        yield Input(("sweep", name, *base), "a sweep that is none")
    for corpus in (
        "",
        "pipe.txt",
        "/dev/zero",
        "folder.csv",
        "binary.txt",
        "blank.txt",
        "one.txt",
        "short.txt",
        "giant.txt",
        "absent",
        "n" * 300,
        "a\0b",
        "zipf-markov:V=0",
        "zipf-markov:V=" + "9" * 5_000,
        "zipf-markov:order2=nan",
        "sotu+sotu",
        "\x1b[31m",
    ):
        text = f"from tiny_sweeps import one as _one\n\ndef f():\n    return _one({corpus!r})\n"
        yield Input(
            ("sweep", "texts:f", *base),
            "a text that is none",
            True,
            (("texts.py", text.encode("utf-8", "surrogateescape")),),
        )
    for out in (
        "own_no_newline.csv",
        "precious.json",
        "good.csv",
        "ours.csv",
        "binary.csv",
        "folder.csv",
        "pipe.csv",
        "empty.csv",
    ):
        yield Input(("sweep", "tiny_sweeps:one", "--out", out, "--workers", "1"), "a table to append to")
        yield Input(("probe", "ours.csv", "--out", out, "--device", "tpu"), "a table to append to")
    for address in (
        "",
        "nonsense",
        "tcp://127.0.0.1:1",
        "precious.json",
        "list.json",
        "pipe.json",
        "a\0b",
        "x" * 87_000,
    ):
        yield Input(
            ("sweep", "tiny_sweeps:one", "--out", "swept.csv", "--scheduler", address), "a scheduler that is none", True
        )
    yield Input(("sweep", "tiny_sweeps:one", "--out", "swept.csv", "--workers", "1"), "as it should be")


def fits() -> Iterator[Input]:
    for name in [
        *(n for n in nasty.others() if n.endswith(".json")),
        "pipe.json",
        "giant.json",
        "folder.json",
        "good.csv",
        "",
    ]:
        yield Input((*BASES["plan"], "--law-fit", name), "a fit that is none", refuse=True)
    yield Input((*BASES["plan"], "--law-fit", "fit.json"), "as it should be")


def formulas(rng: random.Random) -> Iterator[Input]:
    more = {"compare": ("--laws", "hoffmann2022"), "predict": ("--at", "total_params=1e8,tokens=1e9")}
    for number, text in enumerate(mutations.formulas(rng)):
        command = ("fit", "compare", "fit", "predict")[number % 4]
        line = (command, "good.csv", "--formula", text, "--variables", "N=total_params,D=tokens", "--starts", "4")
        yield Input((*line, *more.get(command, ())), "a formula")
