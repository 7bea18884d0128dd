"""The chapter on compression: loss against bytes, which experts deserve bits, and what a plan makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from howmany.neighbours.words import Found, exchanged, mean_finding, verdicts, words
from howmany.verdict import Finding, Judged
from moelaws.charts.tables import readable
from moelaws.charts.theme import CATEGORIES
from moelaws.exchange.precision import Precision
from moelaws.serving.cost import deploy
from moelaws.serving.hardware import accelerator
from moelaws.serving.planning.planner import plan

Array = NDArray[np.float64]

RULES = ("importance", "authors' code", "frequency", "weight", "damage")
"""What bits are shared out by: the product with the exponents of the text, of the code, and each factor alone."""

_SAYING = {
    "importance": "φ w ε², as the text has it", "authors' code": "φ w¹·⁵ ε, as the code has it",
    "frequency": "how often it is chosen", "weight": "how much it counts", "damage": "how far the output moves",
    "random": "by lot, the same widths",
}  # fmt: skip


_DRAWS = 8  # of experts exchanged


@dataclass(frozen=True)
class Recorded:
    """The two tables.

    Attributes:
        rows: one a smaller model.
        experts: one an expert.
    """

    rows: pd.DataFrame
    experts: pd.DataFrame

    def by_seed(self, method: str, bits: float, model: str = "mixture", column: str = "difference") -> Array:
        """A column of one way of making it smaller, one number a seed."""
        chosen = self.rows[
            (self.rows["model"] == model) & (self.rows["method"] == method) & np.isclose(self.rows["bits"], bits)
        ]
        return chosen.groupby("seed")[column].mean().to_numpy(float)

    def draws(self, bits: float) -> Array:
        """What shares by lot cost, seeds x draws."""
        lots = self.rows[(self.rows["method"] == "random") & np.isclose(self.rows["bits"], bits)]
        return lots.pivot_table(index="seed", columns="draw", values="difference").to_numpy(float)

    @property
    def shared_out(self) -> list[float]:
        """The mean widths at which bits were shared out."""
        return sorted(self.rows[self.rows["method"] == "importance"]["bits"].unique())


def recorded(rows_file: str, experts_file: str) -> Recorded:
    """Read both tables."""
    return Recorded(pd.read_csv(rows_file), pd.read_csv(experts_file))


def bytes_figure(found: Recorded) -> alt.LayerChart:
    """Loss against bytes: mixtures and dense models at one width for all, and with bits shared out."""
    kinds = {("mixture", "uniform"): "mixture, all alike", ("mixture", "importance"): "mixture, by importance",
             ("dense", "uniform"): "dense, all alike", ("mixture", "pruned"): "mixture, pruned"}  # fmt: skip
    rows = found.rows.assign(kind=[kinds.get(pair, "") for pair in zip(found.rows["model"], found.rows["method"],
                                                                        strict=True)])  # fmt: skip
    whole = found.rows[found.rows["method"] == "none"].assign(kind=lambda t: t["model"] + ", all alike")
    table = pd.concat([rows[rows["kind"] != ""], whole])
    means = table.groupby(["kind", "bits", "n_experts"], as_index=False)[["bytes", "loss"]].mean()
    means["label"] = means["bits"].map("{:g} bits".format)
    names = list(kinds.values())
    base = alt.Chart(means[means["loss"] < means["loss"].min() + 0.6]).encode(
        x=alt.X("bytes:Q", title="bytes of all weights").scale(type="log", nice=False, padding=12).axis(format="~s"),
        y=alt.Y("loss:Q", title="loss (nats/token)").scale(zero=False),
        color=alt.Color("kind:N", title=None, sort=names)
        .scale(domain=names, range=list(CATEGORIES[: len(names)]))
        .legend(columns=2),
        tooltip=["kind", "label", "n_experts", "bytes", "loss"],
    )
    eight = float(found.by_seed("uniform", 8).mean())
    return (base.mark_line() + base.mark_point(filled=True, size=55)).properties(
        width="container", height=320,
        title=f"A quarter of the bytes costs {eight:+.4f} nats; the rest is dearer",
        description="Loss against bytes of the weights, 32 bits to one, for mixtures and dense models trained with the "
        "same FLOPs, with bits shared out by importance, and with experts left out.",
    )  # fmt: skip


def width_table(found: Recorded) -> pd.DataFrame:
    """Loss, scores and bytes at one width for all, mean over seeds."""
    alike = found.rows[found.rows["method"].isin(["none", "uniform"])]
    means = alike.groupby(["model", "bits"], as_index=False)[["bytes", "difference", "accuracy"]].mean()
    means = means.sort_values(["model", "bits"], ascending=[False, False])
    means["accuracy"] *= 100
    table = means.rename(columns={"difference": "nats lost", "accuracy": "right answers, %"})
    table["bits"] = table["bits"].map("{:g}".format)
    forms = {"bytes": "{:,.0f}", "right answers, %": "{:.1f}"}
    return readable(table.set_index(["model", "bits"]), "{:+.4f}", forms)


def rule_table(found: Recorded) -> pd.DataFrame:
    """Nats lost at equal bytes, by what bits are shared out by."""
    rows = []
    for rule in (*RULES, "random"):
        row: dict[str, Any] = {"shared out by": _SAYING[rule]}
        for bits in found.shared_out:
            row[f"{bits:g} bits"] = (found.draws(bits) if rule == "random" else found.by_seed(rule, bits)).mean()
        rows.append(row)
    alike = {"shared out by": "not at all"} | {
        f"{bits:g} bits": float(found.by_seed("uniform", bits).mean()) if bits == int(bits) else np.nan
        for bits in found.shared_out
    }
    return readable(pd.DataFrame([*rows, alike]).set_index("shared out by"), "{:+.3f}")


def fewer_table(found: Recorded) -> pd.DataFrame:
    """Nats lost with experts left out, put together, or dropped by the token."""
    some = found.rows[found.rows["method"].isin(["pruned", "merged", "second dropped", "first dropped"])]
    means = some.groupby(["method", "n_experts"], as_index=False)[["bytes", "difference"]].mean()
    means = means.sort_values(["method", "n_experts"], ascending=[False, False])
    table = means.rename(columns={"n_experts": "experts", "difference": "nats lost"}).set_index(["method", "experts"])
    return readable(table, "{:+.3f}", {"bytes": "{:,.0f}"})


def plan_table(train_flops: float, serve_tokens: float, hardware: str, bits: Sequence[float]) -> pd.DataFrame:
    """What a law advises if experts have so many bits, scales besides, and the loss is the same."""
    rows = []
    for width in bits:
        scale = 16 / 32 if width < 16 else 0
        where = deploy(accelerator(hardware), bytes_per_value=Precision(experts=(width + scale) / 8))
        advice = plan(train_flops, serve_tokens, where, ["abnar2025"], experts=(1, 4, 16, 64)).laws[0]
        best = advice.cheapest
        rows.append(
            {"bits": f"{width:g}", "experts": best.n_experts, "parameters (B)": best.total_params / 1e9,
             "devices": best.gpus, "memory, GB": best.memory_gb, "dollars": best.total_dollars}
        )  # fmt: skip
    table = pd.DataFrame(rows).set_index("bits")
    return readable(table, "{:#.3g}", {"dollars": "{:,.0f}", "experts": "{:d}", "devices": "{:d}"})


def judged(found: Recorded, claims_file: str) -> list[Judged]:
    """The verdicts, beside bits shared out by lot and others who know nothing; ``placebo`` in the claims names them."""
    lots = [_of_shares(found, found.draws, draw) for draw in range(found.draws(found.shared_out[0]).shape[1])]
    return verdicts(claims_file, _findings(found), "compressed models", [*lots, *_placebos(found)])


def _placebos(found: Recorded) -> list[Found]:
    """Another expert's weight, the first expert dropped, four bits for eight; two things exchanged in one seed."""
    rng = np.random.default_rng(0)
    dropped, first = (found.by_seed(f"{which} dropped", 32) for which in ("second", "first"))
    made: list[Found] = [{"agreement": [mean_finding("by layer", _agreement(found, rng), "")]} for _ in range(_DRAWS)]
    made.append({
        "dropped": [mean_finding("", first, "nats")],
        "eight_bits": [mean_finding("", found.by_seed("uniform", 4), "nats")],
    })  # fmt: skip
    for seed in range(len(dropped)):
        turned = exchanged({"": first - dropped, **_against_dense(found)}, seed)
        made.append({
            "dropped_first": [mean_finding("", turned.pop(""), "nats")],
            "dense_bytes": [mean_finding(where, values, "nats") for where, values in turned.items()],
        })  # fmt: skip
    return made


def _agreement(found: Recorded, rng: np.random.Generator | None = None) -> Array:
    """Correlation of frequency and weight in logarithms, by layer; with ``rng`` of one expert with another."""
    used = found.experts[(found.experts["frequency"] > 0) & (found.experts["weight"] > 0)]
    made = []
    for _, layer in used.groupby(["seed", "layer"]):
        weight = np.log(layer["weight"].to_numpy(float))
        other = weight if rng is None else rng.permutation(weight)
        made.append(np.corrcoef(np.log(layer["frequency"]), other)[0, 1])
    return np.array(made)


def _findings(found: Recorded) -> Found:
    dropped, first = (found.by_seed(f"{which} dropped", 32) for which in ("second", "first"))
    return {
        **_of_shares(found),
        "agreement": [mean_finding("by layer", _agreement(found), "")],
        "dropped": [mean_finding("", dropped, "nats")],
        "dropped_first": [mean_finding("", first - dropped, "nats")],
        "dense_bytes": [mean_finding(where, values, "nats") for where, values in _against_dense(found).items()]
        or [Finding("", open="no dense model has as many bytes")],
        "eight_bits": [mean_finding("", found.by_seed("experts alone", 8), "nats")],
    }


def _of_shares(found: Recorded, draws: Any = None, draw: int = 0) -> Found:
    """Claims about sharing bits out; with ``draws``, of a share by lot in the place of the paper's."""
    saved, least = [], []
    for bits in found.shared_out:
        ours = draws(bits)[:, draw] if draws else found.by_seed("importance", bits)
        alike = _uniform(found, bits)
        saved.append(mean_finding(f"{bits:g} bits", alike - ours, "nats"))
        others = np.min([found.by_seed(rule, bits) for rule in ("frequency", "weight", "damage")], axis=0)
        least.append(mean_finding(f"{bits:g} bits", others - ours, "nats"))
    return {"saved": saved, "factors": least}


def _uniform(found: Recorded, bits: float) -> Array:
    """What one width for all costs at a mean width, straight between whole ones in the logarithm of the loss's rise."""
    low, high = int(np.floor(bits)), int(np.ceil(bits))
    if low == high:
        return found.by_seed("uniform", low)
    ends = [np.log(found.by_seed("uniform", width)) for width in (low, high)]
    return np.exp(ends[0] + (bits - low) * (ends[1] - ends[0]))


def _against_dense(found: Recorded) -> dict[str, Array]:
    """Loss of the dense model less that of the mixture of as many bytes, where dense models have as many."""
    made = {}
    for bits in (1, 2, 3):
        lost = []
        for seed in sorted(found.rows["seed"].unique()):
            own = found.rows[found.rows["seed"] == seed]
            dense = own[own["model"] == "dense"].sort_values("bytes")
            mixture = own[(own["model"] == "mixture") & (own["method"] == "uniform") & (own["bits"] == bits)].iloc[0]
            if not dense["bytes"].min() <= mixture["bytes"] <= dense["bytes"].max():
                continue
            best = np.minimum.accumulate(dense["loss"].to_numpy(float))  # nobody spends bytes to lose
            lost.append(np.interp(np.log(mixture["bytes"]), np.log(dense["bytes"]), best) - mixture["loss"])
        if len(lost) > 1:
            made[f"{bits} bit{'s' if bits > 1 else ''}"] = np.array(lost)
    return made


def numbers(found: Recorded, made: list[Judged]) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    said = words(made)
    none, eight, two = (found.by_seed(m, b, column="bytes")[0] for m, b in
                        (("none", 32), ("uniform", 8), ("uniform", 2)))  # fmt: skip
    lots = found.draws(2.0)
    better = float((lots < found.by_seed("importance", 2.0)[:, None]).mean())
    phi = found.experts.groupby(["seed", "layer"])["frequency"]
    return {
        "cp_rows": f"{len(found.rows)}",
        "cp_experts": f"{int(found.rows[found.rows['model'] == 'mixture']['n_experts'].max())}",
        "cp_eight_alone": f"{found.by_seed('experts alone', 8).mean():+.5f}",
        "cp_eight": f"{found.by_seed('uniform', 8).mean():+.4f}",
        "cp_four": f"{found.by_seed('uniform', 4).mean():+.4f}",
        "cp_two": f"{found.by_seed('uniform', 2).mean():+.3f}",
        "cp_one": f"{found.by_seed('uniform', 1).mean():+.3f}",
        "cp_share_eight": f"{none / eight:.1f}",
        "cp_share_two": f"{none / two:.1f}",
        "cp_importance": f"{found.by_seed('importance', 2.0).mean():+.3f}",
        "cp_lots": f"{lots.mean():+.3f}",
        "cp_lots_better": f"{100 * better:.0f}",
        "cp_flat": f"{(phi.max() / phi.mean()).mean():.1f}",
        "cp_dropped": f"{found.by_seed('second dropped', 32).mean():+.3f}",
        "cp_first": f"{found.by_seed('first dropped', 32).mean():+.3f}",
        "cp_mixed": next(
            f"{one.text} at {one.where}"
            for each in made
            if each.claim.key == "mixed-beats-uniform"
            for one in reversed(each.findings)
        ),
        "cp_word_mixed": said["mixed-beats-uniform"],
        "cp_word_importance": said["importance-counts"],
        "cp_word_agreement": said["frequency-not-weight"],
        "cp_word_dropped": said["half-pruned-free"],
        "cp_word_dense": said["moe-beats-dense-bytes"],
    }
