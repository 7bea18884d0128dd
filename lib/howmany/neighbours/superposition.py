"""The chapter on superposition: two models as one, against each alone, averaged, merged, and trained from scratch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from howmany.neighbours.words import Found, exchanged, mean_findings, verdicts, words
from howmany.verdict import Finding, Judged
from moelaws.charts.tables import readable
from moelaws.charts.theme import CATEGORIES

Array = NDArray[np.float64]

PAIRS = {"tuned": "one tuned from the other", "apart": "both from random weights"}
BLIND = "same domain"
"""Two models of speeches: what is found for them says nothing about domains."""

_SECOND = {"tuned": "tuned", "apart": "documentation", BLIND: "speeches again"}
"""Who is at home in the second domain: the other model of each pair."""

_SAYING = {
    "mean of weights": "mean of the weights", "mean of outputs": "mean of the outputs",
    "merged outputs": "outputs merged, by likelihood", "blend, no learning": "mixture, gates even",
    "blend": "mixture, gates learned", "blend, all weights": "mixture, all weights trained on",
    "side by side": "side by side, shares learned", "rebuilt": "side by side, rebuilt",
    "rebuilt, looking back": "side by side, rebuilt looking back",
    "as published": "side by side, rebuilt looking ahead",
}  # fmt: skip
_ONE = ("speeches", "documentation", "tuned", "dense, both", "mixture, both")
_LEAKS = "as published"


@dataclass(frozen=True)
class Recorded:
    """The table.

    Attributes:
        rows: one a way, pair, seed and domain.
    """

    rows: pd.DataFrame

    def by_seed(self, pair: str, way: str, domain: str = "", column: str = "loss") -> Array:
        """A column, one number a seed: of a domain, or the mean of both."""
        chosen = self.rows[(self.rows["pair"] == pair) & (self.rows["way"] == way)]
        if domain:
            chosen = chosen[chosen["domain"] == domain]
        if chosen.empty:
            raise ValueError(f"superposition: no row for {way!r} of {pair!r}")
        return chosen.groupby("seed")[column].mean().to_numpy(float)

    def shares(self, pair: str, way: str) -> Array:
        """Shares of the second model: seeds x places."""
        chosen = self.rows[(self.rows["pair"] == pair) & (self.rows["way"] == way)]
        return np.array([np.fromstring(each.strip("[]"), sep=",") for each in chosen.groupby("seed")["shares"].first()])

    def home(self, pair: str, domain: str) -> Array:
        """Loss of the model of a domain, on it."""
        return self.by_seed("", "speeches" if domain == "sotu" else _SECOND[pair], domain)


def recorded(file: str) -> Recorded:
    """Read the table."""
    return Recorded(pd.read_csv(file, keep_default_na=True).fillna({"pair": ""}))


def figure(found: Recorded) -> alt.LayerChart:
    """Mean loss of both texts by way of putting two models together, a dot a seed and pair; what to beat as lines."""
    rows = [
        {"pair": words_of, "way": saying, "loss": loss}
        for pair, words_of in PAIRS.items()
        for way, saying in _SAYING.items()
        if way != _LEAKS
        for loss in found.by_seed(pair, way)
    ]
    table = pd.DataFrame(rows)
    order = table.groupby("way")["loss"].min().sort_values().index.tolist()
    fresh = found.by_seed("", "mixture, both").mean()
    rules = pd.DataFrame({"loss": [found.by_seed("", way).mean() for way in ("mixture, both", "dense, both")],
                          "line": ["mixture trained on both", "dense model trained on both"]})  # fmt: skip
    names = list(PAIRS.values())
    dots = alt.Chart(table).mark_point(filled=True, size=55).encode(
        x=alt.X("loss:Q", title="nats per token, both texts").scale(zero=False),
        y=alt.Y("way:N", title=None, sort=order).axis(labelLimit=150, labelExpr="split(datum.label, ', ')"),
        yOffset=alt.YOffset("pair:N", sort=names),
        color=alt.Color("pair:N", title=None, sort=names)
        .scale(domain=names, range=list(CATEGORIES[: len(names)]))
        .legend(columns=1, orient="top"),
        tooltip=["pair", "way", "loss"],
    )  # fmt: skip
    lines = alt.Chart(rules).mark_rule().encode(
        x="loss:Q", strokeDash=alt.StrokeDash("line:N", title=None).legend(columns=1, orient="top")
    )  # fmt: skip
    learned = min(found.by_seed(pair, "blend").mean() for pair in PAIRS)
    return (lines + dots).properties(
        width="container", height=300,
        title=f"Trained on both: {fresh:.2f} nats; made of two, gates learned: {learned:.2f}",
        description="Mean loss on speeches and documentation by way of putting two models together, a dot a seed, "
        "beside lines for models trained on both texts with as many FLOPs; lower is better.",
    )  # fmt: skip


def table_of(found: Recorded) -> pd.DataFrame:
    """Loss on each text and both, and parameters and FLOPs over one model's."""
    one = found.rows[found.rows["way"] == "speeches"].iloc[0]
    rows = []
    for pair in ("", *PAIRS):
        ways = _ONE if not pair else _SAYING
        for way in ways:
            losses = {name: found.by_seed(pair, way, domain).mean() for name, domain in
                      (("speeches", "sotu"), ("documentation", "docstrings"))}  # fmt: skip
            size, flops = (found.by_seed(pair, way, column=name).mean() / one[name]
                           for name in ("parameters", "flops_per_token"))  # fmt: skip
            label = _SAYING.get(way, way) + ("*" if way == _LEAKS else "")
            rows.append({"made of": PAIRS.get(pair, "one model"), "way": label} | losses | {
                "mean": np.mean(list(losses.values())), "parameters": size, "FLOPs": flops,
            })  # fmt: skip
    forms = {"parameters": "× {:.2f}", "FLOPs": "× {:.2f}"}
    return readable(pd.DataFrame(rows).set_index(["made of", "way"]), "{:.3f}", forms)


def judged(found: Recorded, claims_file: str) -> list[Judged]:
    """The verdicts; the placebo is two models of one domain, or what the claim's ``placebo`` names."""
    blind = dict(_of_pairs(found, (BLIND,)))
    one = found.rows[found.rows["way"] == "speeches"].iloc[0]
    two = found.by_seed("tuned", "merged outputs", column="parameters")[0] / one["parameters"]
    blind["parameters"] = [Finding("outputs merged", two, two, two, "times one model")]
    blind["autoencoder"] = mean_findings({
        who: found.by_seed(f"{who} alone", "rebuilt") - found.by_seed("", who) for who in ("speeches", "tuned")
    }, "nats")  # fmt: skip
    seeds = range(found.rows["seed"].nunique())
    turned = [{"leak": mean_findings(exchanged(_leaks(found), seed), "nats")} for seed in seeds]
    return verdicts(claims_file, _findings(found), "blended models", [blind, *turned])


def _findings(found: Recorded) -> Found:
    one = found.rows[found.rows["way"] == "speeches"].iloc[0]
    ratios = [(name, found.by_seed("tuned", "rebuilt", column=column)[0] / one[column]) for name, column in
              (("parameters", "parameters"), ("FLOPs", "flops_per_token"))]  # fmt: skip
    return {
        **_of_pairs(found, tuple(PAIRS)),
        "parameters": [Finding(name, value, value, value, "times one model") for name, value in ratios],
        "leak": mean_findings(_leaks(found), "nats"),
    }


def _leaks(found: Recorded) -> dict[str, Array]:
    """Nats of an autoencoder that sees the next token, less those of one as wide that looks back."""
    leaks = {
        words_of: found.by_seed(pair, _LEAKS) - found.by_seed(pair, "rebuilt, looking back")
        for pair, words_of in PAIRS.items()
    }
    alone = found.by_seed("speeches alone", f"{_LEAKS}, unbound") - found.by_seed("speeches alone", "rebuilt, unbound")
    return leaks | {"one model, loss alone": alone}


def _of_pairs(found: Recorded, pairs: Sequence[str]) -> Found:
    """What is asked of every pair of models."""
    scratch = found.by_seed("", "mixture, both")

    def each(values: Callable[[str], Array], unit: str = "nats") -> list[Finding]:
        return mean_findings({PAIRS.get(pair, pair): values(pair) for pair in pairs}, unit)

    def over(way: str, other: str) -> list[Finding]:
        return each(lambda pair: found.by_seed(pair, way) - found.by_seed(pair, other))

    home = {
        f"{PAIRS.get(pair, pair)}, {name}": found.by_seed(pair, "rebuilt", domain) - found.home(pair, domain)
        for pair in pairs
        for domain, name in (("sotu", "speeches"), ("docstrings", "documentation"))
    }

    def nearness(pair: str) -> Array:
        near, far = (found.by_seed(pair, "rebuilt", column=column) for column in ("near", "far"))
        return np.log(near / far)

    return {
        "home": mean_findings(home, "nats"),
        "over_mean": over("rebuilt", "mean of weights"),
        "by_layer": each(lambda pair: _unlike(found.shares(pair, "side by side")), ""),
        "autoencoder": over("rebuilt", "side by side"),
        "nearness": each(nearness, "times"),
        "blend_mean": over("blend", "mean of weights"),
        "blend_merge": over("blend", "merged outputs"),
        "blend_scratch": each(lambda pair: found.by_seed(pair, "blend") - scratch),
        "onwards_scratch": each(lambda pair: found.by_seed(pair, "blend, all weights") - scratch),
    }


def _short(found: Recorded, way: str) -> str:
    """How far a way stays above the dense model trained on both texts, for each pair."""
    above = {pair: found.by_seed(pair, way) - found.by_seed("", "dense, both") for pair in PAIRS}
    return " and ".join(each.text for each in mean_findings(above, "nats"))


def _unlike(shares_SP: Array) -> Array:
    """Share at the place where it is largest less that where it is smallest, one number a seed.

    The other seeds choose the two places: the largest of some numbers is never below the smallest.
    """
    seeds = range(len(shares_SP))
    others = [shares_SP[[other for other in seeds if other != seed]].mean(0) for seed in seeds]
    return np.array(
        [shares_SP[seed, each.argmax()] - shares_SP[seed, each.argmin()] for seed, each in enumerate(others)]
    )


def numbers(found: Recorded, made: list[Judged]) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    said = words(made)
    by_key = {each.claim.key: each for each in made}

    def mean(pair: str, way: str) -> str:
        return f"{found.by_seed(pair, way).mean():.3f}"

    homes = {pair: np.mean([found.home(pair, domain).mean() for domain in ("sotu", "docstrings")]) for pair in PAIRS}
    return {
        "sp_merged_short": _short(found, "merged outputs"),
        "sp_blend_short": _short(found, "blend"),
        "sp_rows": f"{len(found.rows)}",
        "sp_seeds": f"{found.rows['seed'].nunique()}",
        "sp_home_tuned": f"{homes['tuned']:.3f}",
        "sp_home_apart": f"{homes['apart']:.3f}",
        "sp_mean_tuned": mean("tuned", "mean of weights"),
        "sp_mean_apart": mean("apart", "mean of weights"),
        "sp_blend_tuned": mean("tuned", "blend"),
        "sp_blend_apart": mean("apart", "blend"),
        "sp_onwards_tuned": mean("tuned", "blend, all weights"),
        "sp_onwards_apart": mean("apart", "blend, all weights"),
        "sp_merged_tuned": mean("tuned", "merged outputs"),
        "sp_merged_apart": mean("apart", "merged outputs"),
        "sp_side_tuned": mean("tuned", "side by side"),
        "sp_rebuilt_tuned": mean("tuned", "rebuilt"),
        "sp_scratch_mixture": mean("", "mixture, both"),
        "sp_scratch_dense": mean("", "dense, both"),
        "sp_leak": by_key["leak"].findings[-1].text,
        "sp_leak_loss": mean("speeches alone", f"{_LEAKS}, unbound"),
        "sp_speeches": mean("", "speeches"),
    } | {f"sp_word_{key.replace('-', '_')}": word for key, word in said.items()}  # fmt: skip
