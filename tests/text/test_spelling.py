"""A text in the tokens of another tokenizer: the same text."""

import json
from pathlib import Path

import numpy as np
import pytest

from moelaws.text.corpus import Corpus, load_corpus
from moelaws.text.documents import CorpusError
from moelaws.text.spelling import spelled


@pytest.fixture
def corpora(tmp_path: Path) -> list[Corpus]:
    """Two texts, and a tokenizer of each."""
    made = []
    for name, words in (
        ("one", "ships sail over the sea and back to shore"),
        ("two", "rivers run down from the hills"),
    ):
        rng = np.random.default_rng(len(made))
        folder = tmp_path / name
        folder.mkdir()
        for number in range(20):
            (folder / f"{number}.txt").write_text(" ".join(rng.choice(words.split(), 300)))
        made.append(load_corpus(folder, 300))
    return made


def test_the_same_text_in_other_tokens(corpora: list[Corpus]) -> None:
    one, two = corpora
    found = spelled(one, two.tokenizer_file, len(one.train) + 10)
    assert sorted(found.decode(found.train)) == sorted(one.decode(one.train))
    assert found.decode(found.validation) == one.decode(one.validation)
    assert found.vocab_size == two.vocab_size
    assert not np.array_equal(found.train[:50], one.train[:50])
    assert found.count_bytes(found.validation) == one.count_bytes(one.validation)
    found.require(2, 8)


def test_no_more_than_is_asked_for(corpora: list[Corpus]) -> None:
    one, two = corpora
    found = spelled(one, two.tokenizer_file, 100)
    whole = set(one.decode(one.train))
    assert all(any(each in document for document in whole) for each in found.decode(found.train))
    assert len(found.decode(found.train)) == len(found.decode(found.validation)) == 1


def test_what_is_no_tokenizer(corpora: list[Corpus], tmp_path: Path) -> None:
    one, two = corpora
    broken, endless = tmp_path / "broken.json", tmp_path / "endless.json"
    broken.write_text("{}")
    made = json.loads(two.tokenizer_file.read_text())
    endless.write_text(json.dumps(made).replace("<|endoftext|>", "<|end|>"))
    for file, message in ((broken, "no tokenizer as the tokenizers library saves it"),
                          (endless, "no token '<|endoftext|>', which closes a document")):  # fmt: skip
        with pytest.raises(CorpusError, match="json: " + message.replace("|", "\\|")):
            spelled(one, file, 100)
