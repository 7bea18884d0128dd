"""The chapter on adaptive compute: oracles, routers and lots at equal FLOPs, and where on a text compute goes."""

from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from howmany.neighbours.forecasting import DOMAINS
from howmany.neighbours.words import Found, exchanged, mean_finding, mean_findings, verdicts, words
from howmany.verdict import Finding, Judged
from moelaws.charts.tables import readable
from moelaws.charts.theme import CATEGORIES

Array = NDArray[np.float64]

_LINES = {
    "best fixed": "best fixed route", "by lot": "tokens by lot", "routers": "learned routers", "oracle": "oracle",
    "oracle, first half": "oracle, answers not read",
}  # fmt: skip
"""Ways in the figure, as it names them; models of one width lie far below."""


_UNITS = {"over_lot": "nats", "early": "big networks", "alone": "nats"}


@dataclass(frozen=True)
class Recorded:
    """The two tables.

    Attributes:
        rows: one a way, budget and seed.
        places: one a place of the text, budget and seed.
    """

    rows: pd.DataFrame
    places: pd.DataFrame

    def by_seed(self, way: str, budget: int, column: str = "loss") -> Array:
        """A column of one way at a number of big networks, one number a seed."""
        chosen = self.rows[(self.rows["way"] == way) & (self.rows["budget"] == budget)]
        if chosen.empty:
            raise ValueError(f"adaptive compute: no row for {way!r} with {budget} big networks")
        return chosen.groupby("seed")[column].mean().to_numpy(float)

    def place(self, what: str, which: str, budget: int, column: str = "spent") -> Array:
        """A column of one place of the text, one number a seed."""
        rows = self.places
        chosen = rows[(rows["what"] == what) & (rows["which"] == which) & (rows["budget"] == budget)]
        return chosen.groupby("seed")[column].mean().to_numpy(float)

    @property
    def layers(self) -> int:
        """Of the models."""
        return int(self.rows["budget"].max())

    @property
    def routed(self) -> list[int]:
        """Numbers of big networks that routers were allowed."""
        return sorted(int(budget) for budget in self.rows[self.rows["way"] == "routers"]["budget"].unique())


def recorded(rows_file: str, places_file: str) -> Recorded:
    """Read both tables."""
    return Recorded(pd.read_csv(rows_file), pd.read_csv(places_file, dtype={"which": str}))


def figure(found: Recorded) -> alt.LayerChart:
    """Loss on second halves of texts against the FLOPs of a token, a line a way of choosing."""
    some = found.rows[found.rows["way"].isin(list(_LINES))]
    means = some.groupby(["way", "budget"], as_index=False)[["flops_per_token", "loss_second"]].mean()
    means["way"] = means["way"].map(_LINES)
    names = list(_LINES.values())
    base = alt.Chart(means).encode(
        x=alt.X("flops_per_token:Q", title="FLOPs of a token").scale(zero=False).axis(format="~s", tickCount=5),
        y=alt.Y("loss_second:Q", title="loss, second halves (nats/token)").scale(zero=False),
        color=alt.Color("way:N", title=None, sort=names)
        .scale(domain=names, range=list(CATEGORIES[: len(names)]))
        .legend(columns=2),
        tooltip=["way", "budget", "flops_per_token", "loss_second"],
    )
    gain, left = _gains(found, found.layers // 2)
    return (base.mark_line() + base.mark_point(filled=True, size=45)).properties(
        width="container", height=320,
        title=f"The oracle gains {gain.mean():.3f} nats, on answers not read {left.mean():+.3f}",
        description="Loss on the second halves of texts against FLOPs a token, for the best fixed route, tokens by "
        "lot, learned routers, the oracle that reads the answers, and the oracle that has read the first halves only.",
    )  # fmt: skip


def _gains(found: Recorded, budget: int) -> tuple[Array, Array]:
    """What the oracle gains on second halves over the best fixed route, and what one gains that read the first."""
    fixed = found.by_seed("best fixed", budget, "loss_second")
    return tuple(  # type: ignore[return-value]
        fixed - found.by_seed(way, budget, "loss_second") for way in ("oracle", "oracle, first half")
    )


def way_table(found: Recorded) -> pd.DataFrame:
    """Loss of each way, a column a number of big networks, mean over seeds."""
    ways = {
        "mean route": "mean of all routes", "best fixed": "best fixed route", "by lot": "tokens by lot",
        "routers": "learned routers", "oracle": "oracle", "oracle, skips": "oracle that may skip",
        "oracle, next text": "the oracle's route of another text", "turned": "best of as many, turned at random",
        "alone": "trained alone, one width",
    }  # fmt: skip
    rows = []
    for way, saying in ways.items():
        own = found.rows[found.rows["way"] == way].groupby("budget")["loss"].mean()
        rows.append({"chosen by": saying} | {f"{budget}": value for budget, value in own.items()})
    return readable(pd.DataFrame(rows).set_index("chosen by"), "{:.3f}")


def place_table(found: Recorded) -> pd.DataFrame:
    """Big networks that routers give a token, by what it is and where, and what all big ones would gain."""
    budget = found.routed[len(found.routed) // 2]
    rows = found.places[(found.places["budget"] == budget) & (found.places["what"].isin(["kind", "domain"]))]
    table = rows.groupby(["what", "which"], sort=False)[["spent", "gain", "loss"]].mean().reset_index(drop=False)
    table["which"] = table["which"].replace(DOMAINS)
    named = table.rename(columns={"which": "tokens", "spent": "big networks", "gain": "nats gained by all big",
                                  "loss": "loss under another model"})  # fmt: skip
    return readable(named.drop(columns="what").set_index("tokens"), "{:.3f}", {"big networks": "{:.2f}"})


def judged(found: Recorded, claims_file: str) -> list[Judged]:
    """The verdicts; the placebos are routes that know nothing, and routes of another text."""
    blind = [
        _of_oracle(found, "turned", "turned, first half", "turned, mean"),
        {**_of_oracle(found, "oracle, next text"), **_of_routers(found, "by lot", "spent and hardness"),
         "depth": [_earlier(found, "best fixed")]},
        *({name: mean_findings(exchanged(each, seed), _UNITS[name]) for name, each in _differences(found).items()}
          for seed in range(found.rows["seed"].nunique())),
    ]  # fmt: skip
    return verdicts(claims_file, _findings(found), "models with two networks", blind)


def _of_oracle(found: Recorded, way: str, first: str = "", fixed: str = "best fixed") -> Found:
    """What is asked of an oracle, or of what looks like one."""
    layers, routed = found.layers, found.routed
    losses = np.array([found.by_seed(way, budget) for budget in range(layers + 1)])
    # How noisy a difference is within one model, and how noisy between two, is told by all budgets.
    same = {_big(b): losses[b] - found.by_seed("best fixed", layers) for b in range(1, layers)}
    apart = {"": losses[1] - found.by_seed("alone", layers), **_differences(found)["alone"]}
    one = [mean_findings(same, "nats")[0], mean_findings(apart, "nats")[0]]
    wheres = ("all big in the same model", "all big, trained alone")
    asked: dict[str, list[Finding]] = {
        "one": [replace(each, where=where) for each, where in zip(one, wheres, strict=True)],
        "best_budget": [mean_finding("", losses.argmin(0).astype(float), "big networks")],
        "router_oracle": mean_findings({_big(b): found.by_seed("routers", b) - losses[b] for b in routed}, "nats"),
    }  # fmt: skip
    if first:
        left = {
            _big(b): found.by_seed(fixed, b, "loss_second") - found.by_seed(first, b, "loss_second")
            for b in range(1, layers)
        }
        asked["unseen"] = mean_findings(left, "nats")
    return asked


def _big(budget: int) -> str:
    return f"{budget} big"


def _findings(found: Recorded) -> Found:
    return {
        **_of_oracle(found, "oracle", "oracle, first half"),
        **_of_routers(found, "routers", "gain and hardness"),
        **{name: mean_findings(each, _UNITS[name]) for name, each in _differences(found).items()},
        "depth": [_earlier(found, "oracle")],
    }


def _of_routers(found: Recorded, way: str, correlated: str) -> Found:
    """What is asked of who chooses token by token."""
    over = {_big(b): found.by_seed(way, b) - found.by_seed("best fixed", b) for b in found.routed}
    correlation = found.place("correlation", correlated, found.routed[0], "correlation")
    return {
        "router_fixed": mean_findings(over, "nats"),
        "difficulty": [mean_finding("", correlation)],
    }


def _differences(found: Recorded) -> dict[str, dict[str, Array]]:
    """Nats of a way less those of another, big networks of early tokens less late ones; a placebo exchanges them."""

    def over(way: str, other: str, at: list[int]) -> dict[str, Array]:
        return {_big(b): found.by_seed(way, b) - found.by_seed(other, b) for b in at}

    return {
        "over_lot": over("by lot", "routers", found.routed),
        "early": {_big(b): found.place("place", "0", b) - found.place("place", "7", b) for b in found.routed},
        "alone": over("best fixed", "alone", [0, found.layers // 2, found.layers]),
    }


def _earlier(found: Recorded, way: str) -> Finding:
    """Slope of the mean place of big networks by their number."""
    budgets = np.arange(1, found.layers)
    depths = np.array([found.by_seed(way, int(budget), "depth") for budget in budgets])
    return mean_finding("", np.polyfit(budgets, depths, 1)[0])


def _nats(values: Array) -> str:
    return mean_finding("", values, "nats").text


def numbers(found: Recorded, made: list[Judged]) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    said = words(made)
    half = found.layers // 2
    gain, left = _gains(found, half)
    routed = next(each.findings for each in made if each.claim.key == "router-like-fixed")
    under = {"": found.by_seed("oracle", half) - found.by_seed("alone", half), **_differences(found)["alone"]}
    blind = found.by_seed("turned, mean", half) - found.by_seed("turned", half)
    real = found.by_seed("mean route", half) - found.by_seed("oracle", half)
    spread = found.places[found.places["what"] == "kind"].groupby(["budget", "which"])["spent"].mean().unstack()
    middle = spread.loc[found.routed[len(found.routed) // 2]]
    return {
        "ad_layers": f"{found.layers}",
        "ad_routes": f"{3**found.layers}",
        "ad_seeds": f"{found.rows['seed'].nunique()}",
        "ad_gain": _nats(gain),
        "ad_left": _nats(left),
        "ad_router_one": routed[0].text,
        "ad_router_three": routed[found.routed.index(half)].text,
        "ad_best_of": _nats(real),
        "ad_best_of_blind": _nats(blind),
        "ad_alone_under": mean_findings(under, "nats")[0].text,
        "ad_all_big": f"{found.by_seed('best fixed', found.layers).mean():.3f}",
        "ad_alone_big": f"{found.by_seed('alone', found.layers).mean():.3f}",
        "ad_alone_half": f"{found.by_seed('alone', half).mean():.3f}",
        "ad_fixed_half": f"{found.by_seed('best fixed', half).mean():.3f}",
        "ad_router_half": f"{found.by_seed('routers', half).mean():.3f}",
        "ad_most": str(middle.idxmax()),
        "ad_most_spent": f"{middle.max():.2f}",
        "ad_least": str(middle.idxmin()),
        "ad_least_spent": f"{middle.min():.2f}",
        "ad_correlation": next(each.findings[0].text for each in made if each.claim.key == "difficulty"),
    } | {f"ad_word_{key.replace('-', '_')}": word for key, word in said.items()}
