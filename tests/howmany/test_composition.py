"""The chapter on composition, on tables whose truth is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from howmany.claims import read_claims
from howmany.neighbours import composition as chapter
from howmany.neighbours import printed_laws, shape_ranks, total_size
from howmany.neighbours.cells import Cells, cells
from howmany.verdict import Finding, judge
from repository import ROOT

CLAIMS = [str(ROOT / "data" / "published" / f"{name}_claims.csv") for name in ("zhao", "tian", "liew")]
NOISE = 0.001


def _layers(loss: Callable[[int, float], float]) -> Cells:
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
    return cells(pd.DataFrame(rows), ["budget", "active", "share"])


def _shapes(alike: float) -> Cells:
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
    return cells(pd.DataFrame(rows), ["d_model", "n_layers", "head_channels", "ffn_ratio"])


def _words(layers: Cells, shapes: Cells) -> dict[str, str]:
    rng = np.random.default_rng(0)
    said = {
        "best_active": chapter.best_active(layers, rng),
        "shared_gain": chapter.gains(layers, 0.0, 0.25),
        "half_gain": chapter.gains(layers, 0.25, 0.5),
        "rank": [shape_ranks.ranking(shapes, rng)],
        "expansion": [],
        "more_experts": [],
        "fine_optimum": chapter.best_active(layers, rng, unit=0.5),
        "one_shared": chapter.one_shared(layers),
    }
    made = chapter.judged(said, CLAIMS, _placebos(layers, shapes))
    return {each.claim.key: each.text for each in made}


def test_words_where_the_papers_are_right() -> None:
    found = _words(_layers(lambda k, s: 4 + 0.02 * abs(np.log2(k / 8)) - 0.03 * (s > 0)), _shapes(0.95))
    assert found["g-about-7"] == found["s-third"] == found["rank-kept"] == "reproduced"
    assert found["s-flat"].startswith("reproduced, but")  # where nothing has an effect, nothing changes either
    assert found["g-optimum"].startswith("contradicted")  # 8 active are 4 in their counting
    assert found["one-shared"] == "reproduced"  # better than none, as good as two
    assert found["na-ratio-falls"] == found["m-is-not-enough"] == "not testable here"


def test_words_where_they_are_wrong() -> None:
    found = _words(_layers(lambda k, s: 4 + 0.02 * np.log2(k) + 0.05 * s), _shapes(0.0))
    assert found["g-about-7"] == found["s-third"] == found["s-flat"] == "contradicted"
    assert found["one-shared"] == "partly"  # better than two
    assert found["rank-kept"] in {"contradicted", "contradicted, but says nothing of composition"}


def test_words_where_nothing_has_an_effect() -> None:
    found = _words(_layers(lambda k, s: 4.0), _shapes(0.95))
    assert found["g-about-7"] == "not resolved"
    assert found["s-third"] in {"not resolved", "partly, but says nothing of composition"}


def test_noise_is_that_of_seeds() -> None:
    layers = _layers(lambda k, s: 4 + k)
    assert layers.noise == pytest.approx(NOISE, rel=0.3)
    assert layers.freedom == 2 * (len(layers.means) - 2)  # but for each seed's shift at each budget
    with pytest.raises(ValueError, match="no two runs differ in their seed alone"):
        cells(layers.means.drop(columns="runs").assign(seed=0), ["budget", "active", "share"])


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
    (found,) = total_size.expansions(str(tmp_path / "runs.csv"), draws=50)
    assert (found.value, found.low, found.high) == pytest.approx((4.5, 4.5, 4.5))


@pytest.mark.parametrize(("worse", "word"), [(0.03, "reproduced"), (-0.03, "contradicted"), (0.0, "not resolved")])
def test_more_experts_at_equal_total_size(worse: float, word: str, tmp_path: Path) -> None:
    files = _sizes(worse, tmp_path)
    found = total_size.more_experts(files)
    assert [each.where.split(",")[0] for each in found] == ["1 of 4"] * 2 + ["1 of 8"] * 2  # the largest is too large
    for each in found:
        assert each.low < worse < each.high
    claim = next(claim for claim in read_claims(CLAIMS[2]) if claim.quantity == "more_experts")
    blind = total_size.more_experts(files, np.random.default_rng(1))
    assert judge(claim, found).word == word
    assert judge(claim, blind).word == "not resolved"


def _sizes(worse: float, folder: Path) -> list[str]:
    """Two experts at work of twice as many are so much worse, at any total size, than one; a table for each."""
    rng = np.random.default_rng(3)
    rows = [
        {
            "run_id": f"{ratio}-{k}-{size}-{seed}", "status": "finished", "budget": 3e11, "n_experts": k * ratio,
            "top_k": k, "granularity": 1, "sparsity": 1 - 1 / ratio, "d_model": 8, "corpus": "x", "seed": seed,
            "active_params": 1e5 * size, "total_params": 1.01e5 * size * ratio, "tokens": 5e5 / size,
            "loss": 4 + 0.1 * np.log(size / 2) ** 2 + worse * (k - 1) + 0.004 * rng.normal(),
        }
        for ratio in (4, 8) for k in (1, 2) for size in ((0.5, 1.0, 1.5, 2.0, 3.0) if k == 1 else (1.2, 2.6, 4.5))
        for seed in (0, 1)
    ]  # fmt: skip
    files = []
    for k in (1, 2):
        files.append(str(folder / f"{k}.csv"))
        pd.DataFrame([row for row in rows if row["top_k"] == k]).to_csv(files[-1], index=False)
    return files


def _placebos(layers: Cells, shapes: Cells) -> list[dict[str, list[Finding]]]:
    """Four draws, without the table of larger studies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chapter, "more_experts", lambda files, rng: [])
        patch.setattr(chapter, "expansions", lambda file, draws, flat: [])
        return chapter.placebos(layers, shapes, [""], 4)


def test_the_printed_law_says_what_its_paper_says() -> None:
    table = printed_laws.composition_table({"30 billion": 30e9, "671 billion": 671e9})
    assert table["active experts"].tolist() == ["6.8", "6.8"]
    assert table["active parameters of all"].tolist() == ["40%", "22%"]
    assert printed_laws.wan_tokens(1e12) == pytest.approx(42e6, rel=0.02)


def test_table_and_figure() -> None:
    table = shape_ranks.shape_table(_shapes(0.95))
    assert len(table) == 12
    assert table.columns.tolist() == ["d = 24, rank", "d = 24, loss", "d = 48, rank", "d = 48, loss"]
    assert "8 active at" in chapter.figure(_layers(lambda k, s: 4 + abs(np.log2(k / 8)))).to_dict()["title"]
