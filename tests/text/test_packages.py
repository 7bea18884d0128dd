"""Program text from installed packages: what is kept, what is held out, and what makes it another text."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from moelaws.text import packages
from moelaws.text.corpus import PACKAGES_SHA256, Corpus, load_corpus
from moelaws.text.documents import CorpusError
from moelaws.text.domains import find_domains
from moelaws.text.duplicates import Seen, shingles
from moelaws.text.packages import PACKAGES, Source, is_table, read_packages
from moelaws.text.text import load_text
from moelaws.text.tokenizer import END_OF_TEXT, tokenize, train_tokenizer
from repository import ROOT


def function(name: str, seed: int, words: int = 60) -> str:
    """A function with a body of words of its own, about 400 characters long."""
    rng = np.random.default_rng(seed)
    drawn = ["".join(rng.choice(list("abcdefghijklmnop"), 5)) for _ in range(words)]
    lines = [" ".join(drawn[i : i + 8]) for i in range(0, words, 8)]
    return f"def {name}():\n    " + "\n    ".join(lines) + "\n"


def install(folder: Path, name: str, files: dict[str, str | bytes], version: str = "1.0") -> None:
    """Put a package on the disk as pip does, with the list of its files."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files) + f"{name}-{version}.dist-info/RECORD,,\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, ``one`` and ``two``, which are the recorded ones."""
    folder = tmp_path / "site"
    folder.mkdir()
    modules = {f"one/m{i:02}.py": "\n\n".join(function(f"f{j}", 100 * i + j) for j in range(4)) for i in range(90)}
    install(folder, "one", {"one/__init__.py": function("first", 1), **modules})
    install(folder, "two", {f"two/n{i}.py": function("g", 90_000 + i, 200) for i in range(5)})
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("MOELAWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "PACKAGES", {"one": ("1.0", "MIT"), "two": ("1.0", "MIT")})
    monkeypatch.setattr("moelaws.text.corpus.PACKAGES_SHA256", "")
    return folder


def texts(package: str) -> dict[str, str]:
    sources, _ = read_packages([package])
    return {source.path: source.text for source in sources}


def test_a_package_is_read_file_by_file_and_the_tally_adds_up(site: Path) -> None:
    sources, tallies = read_packages()
    assert [source.path for source in sources] == [f"one/m{i:02}.py" for i in range(90)] + [
        f"two/n{i}.py" for i in range(5)
    ]
    assert (tallies["one"].files, tallies["two"].files) == (90, 5)
    for tally in tallies.values():
        lost = sum(count for step, count in tally.characters.items() if step not in ("read", "kept"))
        assert lost == 0
        assert 0.98 < tally.characters["kept"] / tally.characters["read"] <= 1


def test_what_the_platform_or_the_installer_decides_is_left_out(site: Path) -> None:
    body = function("f", 5)
    kept = {"p/a.py": body, "p/deep/__init__.py": function("f", 6), "p/stub.pyi": function("f", 7)}
    dropped = {
        "p/__init__.py": function("f", 8), "p/version.py": function("f", 9), "p/_vendor/v.py": function("f", 10),
        "p/tests/data/d.py": function("f", 11), "p/x_generated.py": function("f", 12), "p/a.txt": function("f", 13),
        "../../bin/tool.py": function("f", 14), "p/latin.py": b"# caf\xe9\n" + function("f", 15).encode(),
    }  # fmt: skip
    install(site, "p", {**kept, **{path: text for path, text in dropped.items() if not path.startswith("..")}})
    assert texts("p") == kept


def test_line_ends_of_windows_do_not_count(site: Path) -> None:
    install(site, "unix", {"unix/a.py": function("f", 1)})
    install(site, "windows", {"windows/a.py": function("f", 1).replace("\n", "\r\n")})
    assert list(texts("unix").values()) == list(texts("windows").values())


def test_copies_and_near_copies_are_left_out(site: Path) -> None:
    original = function("f", 1)
    renamed = original.replace("def f(", "def another(").replace("\n", "\n    ")
    small = "x = 1\n" * 3
    install(
        site, "p",
        {
            "p/a.py": original + "\n\n" + function("g", 2),
            "p/b.py": renamed + "\n\n" + function("h", 3),
            "p/c.py": original + "\n\n" + function("k", 4) + "\n\n" + small,
            "p/d.py": original,
        },
    )  # fmt: skip
    found = texts("p")
    assert "def f()" in found["p/a.py"]
    assert found["p/b.py"] == function("h", 3)
    assert found["p/c.py"] == function("k", 4) + "\n\n" + small
    assert "p/d.py" not in found
    _, tallies = read_packages(["p"])
    assert tallies["p"].characters["near-copies"] > 300
    assert tallies["p"].characters["copies"] > 600


def test_licences_tables_and_copyleft_are_left_out(site: Path) -> None:
    notice = "# Copyright 2020 Somebody\n#\n# Licensed under the Apache License\n\n"
    rng = np.random.default_rng(0)
    table = "def table():\n    return [\n" + "".join(f"        {x:.12f},\n" for x in rng.random(200)) + "    ]\n"
    install(
        site, "p",
        {
            "p/a.py": notice + function("f", 1),
            "p/b.py": function("f", 2) + "\n\n" + table,
            "p/c.py": "# Under the GNU General Public License\n" + function("f", 3),
            "p/d.py": "# A remark that is no notice\n" + function("f", 4),
        },
    )  # fmt: skip
    found = texts("p")
    assert found["p/a.py"] == function("f", 1)
    assert found["p/b.py"] == function("f", 2)
    assert "p/c.py" not in found
    assert found["p/d.py"].startswith("# A remark")


def test_a_table_is_numbers_or_few_words_over_and_over() -> None:
    assert is_table("0.1234, " * 400)
    assert is_table("assert simplify(x + y) == simplify(y + x)\n" * 60)
    assert not is_table("0.1234, " * 40)
    assert not is_table("\n".join(function("f", seed) for seed in range(8)))


def test_the_split_is_by_path_and_a_models_files_stay_together() -> None:
    paths = [f"some/package/module{i}.py" for i in range(4000)]
    share = np.mean([Source("p", path, "").held_out for path in paths])
    assert 0.015 < share < 0.035
    for i in range(200):
        files = (f"modeling_net{i}.py", f"configuration_net{i}.py", f"tokenization_net{i}_fast.py")
        assert len({Source("p", f"t/models/net{i}/{file}", "").held_out for file in files}) == 1


def test_shingles_are_those_of_the_text_wherever_it_stands() -> None:
    text = function("f", 1, 400).encode()
    alone, within = set(shingles(text).tolist()), set(shingles(b"something else first " + text + b" and then").tolist())
    assert len(alone) > 50
    assert alone <= within
    assert not set(shingles(function("f", 2, 400).encode()).tolist()) & alone


def test_half_of_a_passage_may_have_stood_before() -> None:
    one, two, three = (" ".join(function("f", seed, 100).split()) for seed in (1, 2, 3))
    seen = Seen()
    assert seen.judge(one) == "new"
    assert seen.judge(one + "  \n") == "copy"
    assert seen.judge(one[: len(one) // 4] + two) == "new"
    assert seen.judge(one + three[: len(three) // 4]) == "near-copy"
    assert seen.judge("short") == seen.judge("short") == "new"


def test_the_corpus_holds_out_whole_files(site: Path) -> None:
    corpus = load_corpus("packages", vocab_size=300)
    sources, _ = read_packages()
    train, held_out = corpus.documents("packages")
    assert train == tuple(source.text for source in sources if not source.held_out)
    assert held_out == tuple(source.text for source in sources if source.held_out)
    assert held_out
    assert corpus.domains == (("packages", len(corpus.train), len(corpus.validation)),)


def test_the_fingerprint_hangs_on_the_packages_alone(site: Path, tmp_path: Path) -> None:
    code = (
        "from moelaws.text import packages, corpus; corpus.PACKAGES_SHA256 = '';"
        "packages.PACKAGES = {'one': ('1.0', 'MIT'), 'two': ('1.0', 'MIT')};"
        "print(corpus.load_corpus('packages', 300).sha256)"
    )
    found = set()
    for number in (1, 2):
        environment = os.environ | {"PYTHONHASHSEED": str(number), "MOELAWS_CACHE": str(tmp_path / f"cache{number}")}
        environment["PYTHONPATH"] = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout.strip())
    assert found == {load_corpus("packages", vocab_size=300).sha256}


def test_another_version_or_a_missing_package_is_one_sentence(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for recorded, message in (
        (
            {"one": ("1.1", "MIT")},
            "packages: one is 1.0, the recorded text is of one 1.1: pip install one==1.1",
        ),
        ({"three": ("2", "MIT")}, "packages: three is not installed, the recorded text is of three 2: pip install"),
    ):
        monkeypatch.setattr(packages, "PACKAGES", recorded)
        with pytest.raises(CorpusError) as refusal:
            load_corpus("packages")
        assert str(refusal.value).startswith(message)
        assert len(str(refusal.value)) < 400


def test_a_builds_own_label_is_no_other_version(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "built", {"built/a.py": function("f", 1)}, version="2.0+cpu")
    monkeypatch.setattr(packages, "PACKAGES", {"built": ("2.0", "MIT")})
    find_domains("packages")


def test_a_package_that_lost_its_files_is_named(site: Path) -> None:
    # With this loaded, as it is beside Dask, a distribution's own list leaves out files that are gone.
    importlib.import_module("importlib_metadata")
    (site / "two" / "n3.py").unlink()
    with pytest.raises(CorpusError, match=r"two: two/n3\.py is gone; install the package again"):
        read_packages()
    (site / "two-1.0.dist-info" / "RECORD").unlink()
    with pytest.raises(CorpusError, match="two: its installer left no list of files"):
        read_packages(["two"])


def test_docstrings_are_not_mixed_with_the_packages_they_stand_in(site: Path) -> None:
    with pytest.raises(CorpusError, match=r"docstrings\+packages: what packages holds out would be read in docstrings"):
        find_domains("docstrings+packages")


def test_a_part_lies_in_a_larger_part_and_holds_out_the_same(site: Path) -> None:
    whole = load_corpus("packages", vocab_size=300)
    small, large = (load_corpus(f"packages:tokens={count}", vocab_size=300) for count in (5_000, 20_000))
    assert isinstance(small, Corpus)
    assert (len(small.train), len(large.train)) == (5_000, 20_000)
    assert (small.name, small.domains[0][1]) == ("packages:tokens=5000", 5_000)
    np.testing.assert_array_equal(small.validation, whole.validation)
    assert len({whole.sha256, small.sha256, large.sha256}) == 3
    documents = set(whole.documents("packages")[0])
    kept, more = small.documents("packages")[0], large.documents("packages")[0]
    assert len(set(more) - documents) == 1  # the one that was cut
    assert len(set(kept) - documents) == 1
    assert len(set(kept) & set(more)) >= len(kept) - 1
    assert load_text("packages:tokens=5000", 300).sha256 == small.sha256


def test_a_part_that_cannot_be_is_refused(site: Path) -> None:
    for name, message in (
        ("packages:tokens=0", r"packages: tokens=0: expected 1 to \d+, its training tokens"),
        ("packages:tokens=99999999", r"packages: tokens=99999999: expected 1 to"),
        ("packages:tokens=few", "packages:tokens=few: tokens=few: expected a whole number"),
        ("nothing:tokens=5", "nothing:tokens=5: no such file or folder"),
    ):
        with pytest.raises(CorpusError, match=message):
            load_corpus(name, vocab_size=300)


def test_words_looked_up_are_those_that_the_library_finds() -> None:
    strange = (
        "def f(x):\n\treturn  x  \n\n\n", "it's we'll 'tis 's'd", "  leading", "trailing   ", "\n\n\n", "a\r\nb\r\n",
        "x\x0by\x1cz\x7f", "été ∑ x² \u00a0 naïve\u2028", "1234 5_6 __init__ a1b2", "", " ", "''' \"\"\"", "'re're",
        f"a {END_OF_TEXT} b", "tab\tand  two", "mixed \n  \t x",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    letters = list(" \n\t\r'abst12_.-é∑<|>")
    strange += tuple("".join(rng.choice(letters, rng.integers(1, 60))) for _ in range(2000))
    tokenizer = train_tokenizer((*strange, *(function("f", seed) for seed in range(50))), 400)
    found = tokenize(tokenizer, strange)
    end = tokenizer.token_to_id(END_OF_TEXT)
    tokenizer.encode_special_tokens = True
    expected = [[*encoding.ids, end] for encoding in tokenizer.encode_batch(list(strange), add_special_tokens=False)]
    assert found.tolist() == [token for document in expected for token in document]
    assert found.dtype == np.uint16


def test_the_recorded_packages_are_those_of_the_constraints() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    lower = {name.lower(): version for name, version in pins.items()}
    assert {name: lower.get(name.lower()) for name in PACKAGES} == {name: v for name, (v, _) in PACKAGES.items()}


@pytest.mark.validate
def test_the_packages_are_the_recorded_ones() -> None:
    corpus = load_corpus("packages")
    assert corpus.sha256 == PACKAGES_SHA256
    assert len(corpus.train) > 75_000_000
    assert len(corpus.validation) > 2_000_000


@pytest.mark.validate
def test_little_of_the_held_out_program_text_stands_in_the_training_text() -> None:
    corpus = load_corpus("packages")
    wanted = np.unique(_runs(corpus.validation)[::97])
    found = np.zeros(len(wanted), dtype=bool)
    for start in range(0, len(corpus.train), 5_000_000):
        runs = _runs(corpus.train[start : start + 5_000_024])
        place = np.minimum(np.searchsorted(wanted, runs), len(wanted) - 1)
        found[place[wanted[place] == runs]] = True
    assert len(wanted) > 5000
    assert 0.01 < found.mean() < 0.1


def _runs(tokens: np.ndarray, length: int = 24) -> np.ndarray:
    """A hash of each run of so many tokens."""
    hashes = np.zeros(len(tokens) - length + 1, dtype=np.uint64)
    for i in range(length):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + tokens[i : len(hashes) + i] + np.uint64(1)
    return hashes
