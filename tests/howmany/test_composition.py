"""The chapter on composition, on tables whose truth is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from howmany.neighbours import composition as chapter
from repository import ROOT

CLAIMS = ROOT / "data" / "published" / "zhao_claims.csv"
NOISE = 0.001


def _layers(loss: Callable[[int, float], float]) -> chapter.Cells:
    rng = np.random.default_rng(0)
    rows = [
        {
            "budget": budget, "active": active, "share": share, "seed": seed,
            "loss": loss(active, share) + 0.05 * seed + NOISE * rng.normal(),
        }
        for budget in (1e11, 3e11)
        for active in (1, 2, 4, 8, 16)
        for share in (0.0, 0.25, 0.5)
        if (active * share).is_integer()
        for seed in range(3)
    ]  # fmt: skip
    return chapter.cells(pd.DataFrame(rows), ["budget", "active", "share"])


def _shapes(alike: float) -> chapter.Cells:
    rng = np.random.default_rng(1)
    common, own = rng.normal(size=12), rng.normal(size=12)
    rows = []
    for width, mix in ((24, 1.0), (48, alike)):
        for number in range(12):
            place = {
                "n_layers": 2 << (number % 3),
                "head_channels": 8 * (1 + number // 6),
                "ffn_ratio": 2 + number // 3 % 2,
            }
            loss = 4 + 0.1 * (mix * common[number] + (1 - mix) * own[number])
            rows += [{"d_model": width, **place, "seed": s, "loss": loss + NOISE * rng.normal()} for s in range(2)]
    return chapter.cells(pd.DataFrame(rows), ["d_model", "n_layers", "head_channels", "ffn_ratio"])


def _words(layers: chapter.Cells, shapes: chapter.Cells) -> dict[str, str]:
    rng = np.random.default_rng(0)
    said = {
        "best_active": chapter.best_active(layers, rng),
        "shared_gain": chapter.gains(layers, 0.0, 0.25),
        "half_gain": chapter.gains(layers, 0.25, 0.5),
        "rank": [chapter.ranking(shapes, rng)],
        "expansion": [],
    }
    made = chapter.judged(said, str(CLAIMS), chapter.placebos(layers, shapes, 4))
    return {each.claim.key: each.text for each in made}


def test_words_where_the_papers_are_right() -> None:
    found = _words(_layers(lambda k, s: 4 + 0.02 * abs(np.log2(k / 8)) - 0.03 * (s > 0)), _shapes(0.95))
    assert found["g-about-7"] == found["s-third"] == found["rank-kept"] == "reproduced"
    assert found["s-flat"].startswith("reproduced, but")  # where nothing has an effect, nothing changes either
    assert found["na-ratio-falls"] == found["m-is-not-enough"] == "not testable here"


def test_words_where_they_are_wrong() -> None:
    found = _words(_layers(lambda k, s: 4 + 0.02 * np.log2(k) + 0.05 * s), _shapes(0.0))
    assert found["g-about-7"] == found["s-third"] == found["s-flat"] == "contradicted"
    assert found["rank-kept"] in {"contradicted", "contradicted, but says nothing of sparsity"}


def test_words_where_nothing_has_an_effect() -> None:
    found = _words(_layers(lambda k, s: 4.0), _shapes(0.95))
    assert found["g-about-7"] == "not resolved"
    assert found["s-third"] in {"not resolved", "partly, but says nothing of sparsity"}


def test_noise_is_that_of_seeds() -> None:
    layers = _layers(lambda k, s: 4 + k)
    assert layers.noise == pytest.approx(NOISE, rel=0.3)
    assert layers.freedom == 2 * (len(layers.means) - 2)  # but for each seed's shift at each budget
    with pytest.raises(ValueError, match="no two runs differ in their seed alone"):
        chapter.cells(layers.means.drop(columns="runs").assign(seed=0), ["budget", "active", "share"])


def test_expansion_of_the_best_number_of_experts(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = [
        {
            "run_id": f"{experts}-{size}-{seed}", "status": "finished", "budget": 1e12, "n_experts": experts,
            "top_k": 1, "granularity": 1, "active_params": 1e5 * size, "tokens": 1e12 / 6e5 / size, "seed": seed,
            "total_params": 1e5 * size * (1 + (experts - 1) / 2),
            "loss": 3 + 0.1 * np.log(size) ** 2 + 0.05 * np.log2(experts / 8) ** 2 + 0.001 * rng.normal(),
        }
        for experts in (1, 2, 8, 32) for size in (0.5, 1.0, 2.0) for seed in (0, 1)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "runs.csv", index=False)
    (found,) = chapter.expansions(str(tmp_path / "runs.csv"), draws=50)
    assert (found.value, found.low, found.high) == pytest.approx((4.5, 4.5, 4.5))


def test_the_printed_law_says_what_its_paper_says() -> None:
    table = chapter.published_table({"30 billion": 30e9, "671 billion": 671e9})
    assert table["active experts"].tolist() == ["6.8", "6.8"]
    assert table["active parameters of all"].tolist() == ["40%", "22%"]
    assert chapter.wan_tokens(1e12) == pytest.approx(42e6, rel=0.02)


def test_table_and_figure() -> None:
    table = chapter.shape_table(_shapes(0.95))
    assert len(table) == 12
    assert table.columns.tolist() == ["d = 24, rank", "d = 24, loss", "d = 48, rank", "d = 48, loss"]
    assert "8 active at" in chapter.figure(_layers(lambda k, s: 4 + abs(np.log2(k / 8)))).to_dict()["title"]
