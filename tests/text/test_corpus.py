"""Corpora: the recorded text, a reader's own, and every way a text can be unusable."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from moelaws.config import ModelConfig
from moelaws.models import Transformer
from moelaws.text.batches import pool_tokens, training_batches, validation_windows
from moelaws.text.corpus import _FORMAT, DOCSTRINGS_SHA256, MIXTURE_SHA256, SOTU_SHA256, VOCAB_SIZE, load_corpus
from moelaws.text.docstrings import PACKAGES, check_versions, module_docstrings, read_docstrings
from moelaws.text.documents import HELD_OUT_EVERY, CorpusError, read_documents
from moelaws.text.domains import find_domains
from moelaws.text.tokenizer import END_OF_TEXT
from moelaws.training.validation import validate


def _other_packages() -> str:
    try:
        check_versions()
    except CorpusError as refusal:
        return str(refusal)
    return ""


RECORDED = {
    "all five": {
        "DOCSTRINGS_SHA256": DOCSTRINGS_SHA256,
        "MIXTURE_SHA256": MIXTURE_SHA256,
        "training tokens": 5_500_000,
        "held-out tokens": 600_000,
    },
    "networkx": {
        "DOCSTRINGS_SHA256": "052a4f9c4fb73989d4dbce6b79795ac0afd04f86dde81e0bd3510749eb617c0d",
        "MIXTURE_SHA256": "da3eac52dfdd37a2333e8dc5ad637b94f7431b9a8521193bbd803c26b8ad2b71",
        "training tokens": 300_000,
        "held-out tokens": 30_000,
    },
}

needs_recorded_packages = pytest.mark.skipif(bool(_other_packages()), reason=_other_packages())


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MOELAWS_CACHE", str(folder))
    return folder


def _novel(folder: Path, words: int = 4000) -> Path:
    rng = np.random.default_rng(0)
    vocabulary = ["whale", "sea", "ship", "captain", "été", "white", "the", "of", "and", "a"]
    lines = [" ".join(rng.choice(vocabulary, 10)) for _ in range(words // 10)]
    path = folder / "novel.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_state_of_the_union_is_the_recorded_one() -> None:
    corpus = load_corpus("sotu")
    assert corpus.sha256 == SOTU_SHA256
    assert corpus.vocab_size == VOCAB_SIZE
    assert len(corpus.train) > 3_700_000
    assert len(corpus.validation) > 300_000


def test_validation_is_whole_speeches_that_training_never_sees() -> None:
    corpus = load_corpus("sotu")
    _, speeches = read_documents("sotu")
    assert len(speeches) == 249
    tokenizer = corpus.tokenizer()
    end = tokenizer.token_to_id(END_OF_TEXT)
    held_out = np.split(corpus.validation, np.flatnonzero(corpus.validation == end) + 1)[:-1]
    assert len(held_out) == len(speeches) // HELD_OUT_EVERY
    assert tokenizer.decode(held_out[1][:-1].tolist()) == speeches[2 * HELD_OUT_EVERY - 1]
    assert (corpus.train == end).sum() == len(speeches) - len(held_out)


def test_tokens_stand_for_the_bytes_of_the_text(tmp_path: Path, own_cache: Path) -> None:
    path = _novel(tmp_path)
    corpus = load_corpus(path, vocab_size=300)
    counted = corpus.token_bytes[corpus.train].sum() + corpus.token_bytes[corpus.validation].sum()
    assert counted == len(path.read_bytes())


def test_a_changed_sotu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moelaws.text.corpus.SOTU_SHA256", "0" * 64)
    with pytest.raises(CorpusError, match=r"sotu: the assembled tokens have sha256 .*; install the versions in"):
        load_corpus("sotu")


@pytest.fixture(scope="module")
def few_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for the docstrings of one package, which has the speeches already."""
    cache = tmp_path_factory.mktemp("few")
    speeches = load_corpus("sotu").tokenizer_file.parent
    (cache / speeches.name).symlink_to(speeches)
    return cache


@pytest.fixture(params=["networkx", pytest.param("all five", marks=pytest.mark.validate)])
def packages(request: pytest.FixtureRequest, few_cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The docstrings of one package in the place of all, whose reading takes half a minute; all on ``validate``."""
    if request.param == "networkx":
        monkeypatch.setenv("MOELAWS_CACHE", str(few_cache))
        monkeypatch.setattr("moelaws.text.docstrings.PACKAGES", {"networkx": PACKAGES["networkx"]})
        for name in ("DOCSTRINGS_SHA256", "MIXTURE_SHA256"):
            monkeypatch.setattr(f"moelaws.text.corpus.{name}", RECORDED["networkx"][name])
    return request.param


@needs_recorded_packages
def test_the_docstrings_are_the_recorded_ones(packages: str) -> None:
    recorded = RECORDED[packages]
    corpus = load_corpus("docstrings")
    assert corpus.sha256 == recorded["DOCSTRINGS_SHA256"]
    assert len(corpus.train) > recorded["training tokens"]
    assert len(corpus.validation) > recorded["held-out tokens"]


@needs_recorded_packages
def test_little_of_the_held_out_docstrings_stands_in_the_training_text(packages: str) -> None:
    corpus = load_corpus("docstrings")
    runs = np.lib.stride_tricks.sliding_window_view
    sample = {run.tobytes() for run in runs(corpus.validation, 24)[:: 97 if packages == "all five" else 7]}
    found = {key for run in runs(corpus.train, 24) if (key := run.tobytes()) in sample}
    assert len(sample) > 5000
    assert 0.01 < len(found) / len(sample) < 0.1


@needs_recorded_packages
def test_a_mixture_holds_out_what_its_domains_hold_out(packages: str) -> None:
    mixture = load_corpus("sotu+docstrings")
    assert mixture.sha256 == RECORDED[packages]["MIXTURE_SHA256"]
    assert mixture.vocab_size == VOCAB_SIZE
    assert len(mixture.train) > 3_700_000 + RECORDED[packages]["training tokens"]
    assert [name for name, *_ in mixture.domains] == ["sotu", "docstrings"]
    for alone in (load_corpus("sotu"), load_corpus("docstrings")):
        part = mixture.held_out(alone.name)
        texts = mixture.decode(part.validation)
        assert texts == alone.decode(alone.validation)
        assert mixture.documents(alone.name) == (alone.decode(alone.train), texts)
        assert part.count_bytes(part.validation) == sum(len(text.encode()) for text in texts)
    whole = np.concatenate([mixture.held_out(name).validation for name, *_ in mixture.domains])
    np.testing.assert_array_equal(whole, mixture.validation)
    with pytest.raises(CorpusError, match=r"sotu\+docstrings: no domain 'novel'; expected sotu, docstrings"):
        mixture.held_out("novel")


@needs_recorded_packages
def test_a_domain_in_the_tokens_of_all() -> None:
    mixture = load_corpus("sotu+docstrings")
    parts = [load_corpus(f"sotu+docstrings:domain={name}") for name, *_ in mixture.domains]
    np.testing.assert_array_equal(np.concatenate([part.train for part in parts]), mixture.train)
    np.testing.assert_array_equal(parts[1].validation, mixture.held_out("docstrings").validation)
    assert parts[0].name == "sotu+docstrings:domain=sotu"
    assert [name for name, *_ in parts[0].domains] == ["sotu"]
    assert parts[0].tokenizer_file == mixture.tokenizer_file
    assert len({mixture.sha256, *(part.sha256 for part in parts)}) == 3
    smaller = load_corpus("sotu+docstrings:domain=docstrings:tokens=5000")
    assert len(smaller.train) == 5000
    assert smaller.decode(smaller.train)[0] in "".join(parts[1].decode(parts[1].train))
    with pytest.raises(CorpusError, match="no domain 'novel'; expected sotu, docstrings"):
        load_corpus("sotu+docstrings:domain=novel")


@needs_recorded_packages
def test_a_model_is_measured_on_another_domain_in_its_own_tokens(packages: str) -> None:
    sotu, docstrings = load_corpus("sotu"), load_corpus("docstrings")
    away = sotu.transfer(docstrings)
    assert sotu.decode(away.validation) == docstrings.decode(docstrings.validation)
    assert len(away.validation) > 1.2 * len(docstrings.validation)  # its tokens fit the other text less well
    model = Transformer(ModelConfig(d_model=8, n_heads=1, d_ff=8, context=32))
    windows = away.validation_windows(32, 2048)
    untrained = validate(model, away, 2048)
    bits = untrained.loss / np.log(2) * windows[:, 1:].size
    assert untrained.bits_per_byte == pytest.approx(bits / away.count_bytes(windows[:, 1:]))


def test_any_text_can_be_encoded_and_comes_back() -> None:
    corpus = load_corpus("sotu")
    documents = ("My fellow citizens,", "∑ x² — naïve\n\tcode()", "", "a")
    tokens = corpus.encode(documents)
    assert corpus.decode(tokens) == documents
    assert corpus.count_bytes(tokens) == sum(len(text.encode()) for text in documents)


MODULE = '''"""Module.

    Indented like this.
"""
raise SystemExit
def one(x='not a docstring'):
    r"""One\\d."""
    'nor this'
    class Inner:
        """Inner,
        and
          deeper.
        """
async def two():
    'Two.'
def three():
    f'no docstring'
class Last:
    x = 'no'
'''


def test_docstrings_are_read_without_importing(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(MODULE)
    assert list(module_docstrings(source)) == [
        "Module.\n\nIndented like this.",
        r"One\d.",
        "Inner,\nand\n  deeper.",
        "Two.",
    ]


def test_what_stood_before_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "numpy"
    (package / "tests").mkdir(parents=True)
    long, short = "word " * 30 + "end", "Notes\n-----"
    for name, text in {
        "a.py": f"First.\n\n{long}\n\n{short}\n\nalpha",
        "b.py": f"Second.\n\n{long}\n\n{short}\n\nbeta",
        "c.py": f"First.\n\n{long}\n\n{short}\n\nalpha",  # nothing new at all
        "d.py": long,
        "version.py": "made by the builder",
        "tests/e.py": "a test",
    }.items():
        (package / name).write_text(f'"""{text}"""\n')
    monkeypatch.setattr("moelaws.text.docstrings.PACKAGES", {"numpy": "0"})
    monkeypatch.setattr("moelaws.text.docstrings._folder", lambda _: package)
    first, second = read_docstrings()
    assert first == f"First.\n\n{long}\n\n{short}\n\nalpha\n"
    assert second == f"Second.\n\n{short}\n\nbeta\n"


def test_other_versions_of_the_packages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moelaws.text.docstrings.PACKAGES", {"scipy": "0.1"})
    with pytest.raises(CorpusError, match=r"docstrings: scipy is .*, the recorded text is of scipy 0\.1: pip install"):
        load_corpus("sotu+docstrings")
    monkeypatch.setattr("moelaws.text.docstrings.PACKAGES", {"no-such-package": "1"})
    with pytest.raises(CorpusError, match="no-such-package is not installed"):
        check_versions()


def test_a_domain_is_named_once() -> None:
    with pytest.raises(CorpusError, match=r"sotu\+sotu: a domain is named twice"):
        find_domains("sotu+sotu")
    with pytest.raises(CorpusError, match=r"sotu\+novel: no such file or folder"):
        find_domains("sotu+novel")


def test_a_folder_is_read_file_by_file(tmp_path: Path, own_cache: Path) -> None:
    folder = tmp_path / "stories"
    (folder / "deep").mkdir(parents=True)
    for i in range(24):
        (folder / "deep" / f"{i:02}.txt").write_text(f"story number {i} " * 40)
    (folder / "picture.png").write_bytes(b"\xff\xfe\x00")
    _, documents = read_documents(folder)
    assert len(documents) == 24
    corpus = load_corpus(folder, vocab_size=300)
    assert "story number 11" in corpus.tokenizer().decode(corpus.validation.tolist())
    assert "story number 11" not in corpus.tokenizer().decode(corpus.train.tolist())


def test_a_single_file_gives_validation_from_several_places(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("\n".join(f"line {i}" for i in range(1000)))
    _, documents = read_documents(path)
    assert "".join(documents) == path.read_text()
    assert len(documents) == 48
    path.write_text("word " * 1000)  # no line ends at all
    _, documents = read_documents(path)
    assert "".join(documents) == path.read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "text.txt: no such file or folder"),
        (b"", "text.txt: the file is empty"),
        (b" \n\t\n", "text.txt: the file is empty"),
        (b"caf\xe9 noir", "text.txt: not UTF-8 text: byte 3 is 0xe9; save the file as UTF-8"),
        (b"\xff\xfeh\x00i\x00", "text.txt: not UTF-8 text: byte 0 is 0xff"),
    ],
)
def test_an_unusable_file_is_refused(tmp_path: Path, own_cache: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorpusError) as refusal:
        load_corpus(path)
    assert message in str(refusal.value)
    assert not own_cache.exists()


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"the folder has no \.txt or \.md file"):
        load_corpus(tmp_path)


def test_a_text_too_short_for_one_batch_is_refused(tmp_path: Path, own_cache: Path) -> None:
    corpus = load_corpus(_novel(tmp_path), vocab_size=300)
    corpus.require(4, 16)
    with pytest.raises(
        CorpusError, match=r"novel\.txt: \d+ training tokens are too few for one batch of 512 sequences"
    ):
        corpus.require(512, 128)
    with pytest.raises(
        CorpusError, match=r"novel\.txt: \d+ held-out tokens are too few for one sequence of 2000 tokens"
    ):
        corpus.require(1, 2000)


def test_the_cache_is_used_and_a_damaged_one_is_built_again(tmp_path: Path, own_cache: Path) -> None:
    path = _novel(tmp_path)
    first = load_corpus(path, vocab_size=300)
    (folder,) = own_cache.iterdir()
    stamp = (folder / "train.npy").stat().st_mtime_ns
    assert load_corpus(path, vocab_size=300).sha256 == first.sha256
    assert (folder / "train.npy").stat().st_mtime_ns == stamp
    damaged = bytearray((folder / "train.npy").read_bytes())
    damaged[-1] ^= 1
    (folder / "train.npy").write_bytes(damaged)
    assert load_corpus(path, vocab_size=300).sha256 == first.sha256
    shutil.rmtree(folder)
    folder.mkdir()  # what a killed process might leave
    assert load_corpus(path, vocab_size=300).sha256 == first.sha256
    assert [p.name for p in own_cache.iterdir()] == [folder.name]


def test_a_changed_text_is_another_corpus(tmp_path: Path, own_cache: Path) -> None:
    path = _novel(tmp_path)
    first = load_corpus(path, vocab_size=300)
    path.write_text(path.read_text() + " whale")
    assert load_corpus(path, vocab_size=300).sha256 != first.sha256


def test_processes_may_build_the_cache_at_once(tmp_path: Path, own_cache: Path) -> None:
    path = _novel(tmp_path, words=40_000)
    code = f"from moelaws.text.corpus import load_corpus; print(load_corpus({str(path)!r}, 400).sha256)"
    builders = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    results = {builder.communicate()[0] for builder in builders}
    assert all(builder.returncode == 0 for builder in builders)
    assert len(results) == 1
    assert len(list(own_cache.iterdir())) == 1


def test_an_epoch_reads_each_token_at_most_once() -> None:
    tokens = np.arange(1000, dtype=np.uint16)
    batches = training_batches(tokens, batch_sequences=3, context=10, seed=0)
    steps = pool_tokens(tokens, 10) // 30 - 1
    predicted = np.concatenate([next(batches)[:, 1:].ravel() for _ in range(steps)])
    assert len(np.unique(predicted)) == len(predicted)


def test_data_order_depends_on_the_seed_alone() -> None:
    tokens = np.arange(5000, dtype=np.uint16)

    def first(seed: int) -> np.ndarray:
        batches = training_batches(tokens, 4, 16, seed)
        return np.stack([next(batches) for _ in range(100)])  # more than one epoch

    assert (first(1) == first(1)).all()
    assert (first(1) != first(2)).any()
    assert (np.diff(first(1), axis=-1) == 1).all()


def test_training_on_a_text_of_exactly_one_batch() -> None:
    tokens = np.arange(4 * 16 + 1, dtype=np.uint16)
    batch = next(training_batches(tokens, 4, 16, seed=0))
    assert batch.shape == (4, 17)


def test_validation_windows_are_fixed_and_do_not_overlap() -> None:
    tokens = np.arange(1001, dtype=np.uint16)
    windows = validation_windows(tokens, 10, 200)
    assert windows.shape == (20, 11)
    predicted = windows[:, 1:].ravel()
    assert len(np.unique(predicted)) == 200
    assert predicted[-1] > 900  # from the whole text, not its beginning
    assert validation_windows(tokens, 10, 10**6).shape == (100, 11)


def test_stored_tokens_need_no_packages(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = {"numpy": ("0.0.1", "MIT")}
    monkeypatch.setattr("moelaws.text.packages.PACKAGES", pins)
    with pytest.raises(CorpusError, match=r"packages: numpy is .*, the recorded text is of numpy 0\.0\.1"):
        load_corpus("packages")
    assert not list(own_cache.glob("corpus-*"))
    _, (domain,) = find_domains("packages")
    other = load_corpus(_novel(own_cache.parent))
    digest = hashlib.sha256(f"{_FORMAT} {VOCAB_SIZE} {domain.name} {domain.key}".encode()).hexdigest()
    shutil.copytree(other.tokenizer_file.parent, own_cache / f"corpus-{digest[:24]}")
    with pytest.raises(CorpusError, match="the assembled tokens have sha256"):
        load_corpus("packages")
    monkeypatch.setattr("moelaws.text.corpus.PACKAGES_SHA256", other.sha256)
    assert load_corpus("packages").sha256 == other.sha256
