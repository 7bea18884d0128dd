"""Corpora: the recorded text, a reader's own, and every way a text can be unusable."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from moelaws.training.batches import pool_tokens, training_batches, validation_windows
from moelaws.training.corpus import END_OF_TEXT, SOTU_SHA256, VOCAB_SIZE, CorpusError, load_corpus
from moelaws.training.documents import HELD_OUT_EVERY, read_documents


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
    assert 2.5 < corpus.bytes_per_token < 3.5


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
    monkeypatch.setattr("moelaws.training.corpus.SOTU_SHA256", "0" * 64)
    with pytest.raises(CorpusError, match=r"sotu: the assembled tokens have sha256 .*; install the versions in"):
        load_corpus("sotu")


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
    code = f"from moelaws.training.corpus import load_corpus; print(load_corpus({str(path)!r}, 400).sha256)"
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
