"""The synthetic language: exact entropies against enumeration and against samples, the same words everywhere."""

import itertools
import math

import numpy as np
import pytest

from moelaws.text.corpus import load_corpus
from moelaws.text.documents import CorpusError
from moelaws.text.entropy import stationary_pairs
from moelaws.text.synthetic import ZipfMarkov, parse_language
from moelaws.text.text import load_text

# Fingerprint of the default language on every machine and every NumPy.
DEFAULT_SHA256 = "3faa48b5451c52ad9036069485846fd6737a600e0bb4f17021e4aa6e22e87ca5"


def _lowest_loss(language: ZipfMarkov, context: int) -> float:
    """The expected loss of a perfect model: the first token of a window is predicted from one word only."""
    _, given_one, given_two = language.entropies
    return (given_one + (context - 1) * given_two) / context


def _conditional(language: ZipfMarkov) -> np.ndarray:
    """p(c | a, b) as a full V x V x V table, word by word from the definition."""
    source = language._transitions
    size = language.vocab_size
    table = np.tile(source.fresh_V, (size, size, 1))
    for a, b in itertools.product(range(size), repeat=2):
        table[a, b, source.second_VV[a, b]] += source.p_second
        table[a, b, source.first_V[b]] += source.p_first
    return table


@pytest.mark.parametrize(
    "language",
    [
        ZipfMarkov(vocab_size=5),
        ZipfMarkov(vocab_size=7, order2=0.9, order1=0.05, seed=3),
        ZipfMarkov(vocab_size=6, order2=0.3, order1=0.6, zipf=0.3),
    ],
)
def test_entropies_against_an_eigenvector_and_a_full_sum(language: ZipfMarkov) -> None:
    size = language.vocab_size
    p = _conditional(language)
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-15)
    chain = np.zeros((size * size, size * size))
    for a, b, c in itertools.product(range(size), repeat=3):
        chain[a * size + b, b * size + c] = p[a, b, c]
    values, vectors = np.linalg.eig(chain.T)
    pairs = np.real(vectors[:, np.argmax(values.real)]).reshape(size, size)
    pairs /= pairs.sum()
    np.testing.assert_allclose(stationary_pairs(language._transitions), pairs, atol=1e-13)

    words = pairs.sum(0)
    given_one = (pairs[:, :, None] * p).sum(0) / words[:, None]
    by_hand = (
        -(words * np.log(words)).sum(),
        -(words[:, None] * given_one * np.log(given_one)).sum(),
        -(pairs[:, :, None] * p * np.log(p)).sum(),
    )
    assert language.entropies == pytest.approx(by_hand, abs=1e-12)


def test_entropies_where_they_are_known_without_a_chain() -> None:
    zipf_only = ZipfMarkov(vocab_size=16, order2=0, order1=0)
    p = zipf_only._zipf_V / 65536
    assert zipf_only.entropies == pytest.approx([-(p * np.log(p)).sum()] * 3, abs=1e-13)
    assert ZipfMarkov(vocab_size=16, order2=0, order1=0, zipf=0).entropies[2] == pytest.approx(math.log(16), abs=1e-13)
    first_order = ZipfMarkov(vocab_size=16, order2=0, order1=0.6)
    assert first_order.entropies[1] == pytest.approx(first_order.entropies[2], abs=1e-13)
    assert first_order.entropies[0] > first_order.entropies[1] + 0.5


def test_words_follow_the_law_and_the_entropies() -> None:
    language = ZipfMarkov(vocab_size=32, seed=5)
    windows = np.concatenate(list(itertools.islice(language.batches(512, 64, seed=1), 30)))
    losses = language.perfect_losses(windows)
    # Windows 512 apart go on with the same text; texts are independent.
    texts = losses.reshape(30, 512, 64).mean((0, 2))
    error = texts.std(ddof=1) / math.sqrt(512)
    assert error < 0.002
    assert abs(texts.mean() - _lowest_loss(language, 64)) < 4 * error
    assert abs(losses[:, 0].mean() - language.entropies[1]) < 4 * losses[:, 0].std() / math.sqrt(len(losses))
    assert language.entropies[2] < _lowest_loss(language, 64) < _lowest_loss(language, 8) < language.entropies[1]

    p = _conditional(language)
    for a, b in ((0, 0), (0, 1), (3, 2)):
        followers = windows[:, 2:][(windows[:, :-2] == a) & (windows[:, 1:-1] == b)]
        counts = np.bincount(followers, minlength=32)
        z = (counts - len(followers) * p[a, b]) / np.sqrt(len(followers) * p[a, b])
        assert len(followers) > 1000
        assert (z**2).sum() < 31 + 5 * math.sqrt(62)
    shares = np.bincount(windows.ravel(), minlength=32) / windows.size
    np.testing.assert_allclose(shares, language._stationary.sum(0), atol=0.003)


def test_texts_begin_in_the_stationary_state() -> None:
    language = ZipfMarkov(vocab_size=8, order2=0.8, order1=0.1)  # with a long memory
    first = np.concatenate([next(language.batches(512, 2, seed)) for seed in range(60)])
    pairs = np.bincount(first[:, 0] * 8 + first[:, 1], minlength=64)
    expected = len(first) * language._stationary.ravel()
    assert ((pairs - expected) ** 2 / expected).sum() < 63 + 5 * math.sqrt(126)


def test_the_validation_windows_have_a_perfect_loss_of_their_own() -> None:
    language = ZipfMarkov(vocab_size=32)
    windows = language.validation_windows(64, 65_536)
    p, first = _conditional(language), language._stationary / language._stationary.sum(1, keepdims=True)
    losses = -np.log(p[windows[:, :-2], windows[:, 1:-1], windows[:, 2:]])
    by_hand = (losses.sum() - np.log(first[windows[:, 0], windows[:, 1]]).sum()) / windows[:, 1:].size
    assert language.perfect_loss(64, 65_536) == pytest.approx(by_hand, abs=1e-12)
    assert 0 < abs(language.perfect_loss(64, 65_536) - _lowest_loss(language, 64)) < 0.03


def test_zipf_is_zipf() -> None:
    shares = ZipfMarkov(vocab_size=1000)._zipf_V
    assert shares.sum() == 65536
    harmonic = (1 / np.arange(1, 1001)).sum()
    np.testing.assert_allclose(shares[1:] / 65536, 1 / np.arange(2, 1001) / harmonic, atol=1 / 65536)
    assert ZipfMarkov(vocab_size=2048, zipf=2.0)._zipf_V.min() == 1


def test_the_language_is_the_recorded_one() -> None:
    assert ZipfMarkov().sha256 == DEFAULT_SHA256
    languages = [ZipfMarkov(seed=1), ZipfMarkov(zipf=1.1), ZipfMarkov(order2=0.5), ZipfMarkov(vocab_size=127)]
    assert len({language.sha256 for language in (ZipfMarkov(), *languages)}) == 5


def test_order_depends_on_the_seed_alone_and_batches_only_cut_it() -> None:
    language = ZipfMarkov(vocab_size=64)

    def words(batch: int, seed: int, count: int = 1200) -> np.ndarray:
        batches = ZipfMarkov(vocab_size=64).batches(batch, 16, seed)
        return np.concatenate([next(batches) for _ in range(math.ceil(count / batch))])[:count]

    np.testing.assert_array_equal(words(4, 0), words(700, 0))
    np.testing.assert_array_equal(words(4, 0), words(1, 0))
    assert (words(4, 0) != words(4, 1)).mean() > 0.5
    assert words(4, 0).dtype == np.int64
    assert words(4, 0).shape == (1200, 17)
    np.testing.assert_array_equal(words(4, 0)[:512, -1], words(4, 0)[512:1024, 0])  # texts go on
    validation = language.validation_windows(16, 1200 * 16)
    assert validation.shape == (1200, 17)
    np.testing.assert_array_equal(language.validation_windows(16, 160), validation[:10])
    seen = {tuple(window) for window in words(4, 0)} | {tuple(window) for window in words(4, 1)}
    assert not seen & {tuple(window) for window in validation}
    assert len({tuple(window) for window in validation}) == 1200


def test_a_run_is_one_epoch_without_bytes() -> None:
    language = ZipfMarkov()
    assert language.pool(128, 10**9) == 10**9
    assert language.count_bytes(language.validation_windows(16, 160)) == 0
    language.require(10**6, 10**6)


def test_names_round_trip() -> None:
    for language in (ZipfMarkov(), ZipfMarkov(vocab_size=256, zipf=1.25, seed=7), ZipfMarkov(order2=0.6, order1=0.1)):
        assert parse_language(language.name) == language
    assert ZipfMarkov().name == "zipf-markov"
    assert ZipfMarkov(vocab_size=256, seed=7).name == "zipf-markov:V=256,seed=7"
    assert parse_language("zipf-markov: V=256, order2=.5") == ZipfMarkov(vocab_size=256, order2=0.5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zipf-markov:", "'' is no setting; expected V=..., order2=..., order1=..., zipf=..., seed=..."),
        ("zipf-markov:W=3", "'W=3' is no setting"),
        ("zipf-markov:V", "V = nothing: expected a whole number"),
        ("zipf-markov:V=12.5", "V = 12.5: expected a whole number"),
        ("zipf-markov:V=1", "V = 1: expected a whole number from 2 to 2048"),
        ("zipf-markov:V=64,V=64", "V is set twice"),
        ("zipf-markov:order2=nan", "order2 = nan: expected a probability"),
        ("zipf-markov:order2=.9", "order1 = 0.2: expected at most 0.95 together with order2"),
        ("zipf-markov:zipf=-1", "zipf = -1.0: expected a number from 0 to 2"),
        ("zipf-markov:seed=-1", "seed = -1: expected a whole number from 0"),
        ("zipfmarkov", "no such language; expected zipf-markov"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, message: str) -> None:
    with pytest.raises(CorpusError) as refusal:
        parse_language(name)
    assert message in str(refusal.value)


def test_one_way_to_every_text() -> None:
    assert load_text("zipf-markov:V=64") == ZipfMarkov(vocab_size=64)
    assert load_text("zipf-markov:V=64", 64).vocab_size == 64
    with pytest.raises(CorpusError, match="zipf-markov: vocab_size = 1024: expected V = 128"):
        load_text("zipf-markov", 1024)
    with pytest.raises(CorpusError, match="zipf-markov is a language without stored tokens: open it with load_text"):
        load_corpus("zipf-markov")
    sotu, stored = load_text("sotu"), load_corpus("sotu")
    assert sotu.sha256 == stored.sha256
    assert sotu.pool(128, 10) == (len(stored.train) - 1) // 128 * 128
    windows = sotu.validation_windows(128, 4096)
    assert sotu.count_bytes(windows) == stored.token_bytes[windows].sum() > windows.size
    assert (next(sotu.batches(4, 16, 2)) == next(stored.batches(4, 16, 2))).all()
