"""Dense and sparse models of equal loss, probe by probe: curves, effects, one number for knowing, and reading."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import altair as alt
import pandas as pd

from howmany.abnar import verdicts as judge_all
from howmany.claims import read_claims
from howmany.downstream import EqualLoss, compare_at_equal_loss, curve, equal_loss, pool
from howmany.figures import probe_errors as figures
from howmany.page import listed
from howmany.specialisation import domain_distances
from howmany.study import TEXT, Study
from howmany.verdict import Judged
from howmany.verdicts.placebo import placebo_probe_studies
from moelaws.charts.losses import budget_name
from moelaws.charts.tables import readable

ORDER = ("cloze", "facts", "continuation", "word order", "recall", "brackets", "mention", "same words", "same order")
"""Probes in the order of the page."""

READING = ("recall", "mention", "same words", "same order")
"""Probes that are answered from the text at hand, and not from what was learned."""

_NAMES = {"sotu": "speeches", "all": "all of them"}
_SILENT = "cannot tell"


def ordered(probes: pd.DataFrame) -> pd.DataFrame:
    """The probes in the order of the page."""
    table = probes.assign(place=probes["probe"].map({name: place for place, name in enumerate(ORDER)}))
    return table.sort_values(["place", "domain"], ascending=[True, False], kind="stable")


def answered(probes: pd.DataFrame) -> pd.DataFrame:
    """The accuracies, without ``mention``, which counts otherwise."""
    return probes[(probes["metric"] == "accuracy") & (probes["probe"] != "mention")]


def gains(probes: pd.DataFrame) -> pd.DataFrame:
    """Rows of what the text at hand saves, in nats; of probes, or of comparisons."""
    return probes[probes["probe"].isin(READING) & probes["metric"].str.startswith("nats")]


def losses(models: pd.DataFrame) -> pd.DataFrame:
    """Loss of the models by budget, width and number of experts."""
    table = models.assign(budget=models["budget"].map(budget_name))
    return table.pivot_table(index=["budget", "d_model"], columns="n_experts", values="loss").round(3)


def model_numbers(probes: pd.DataFrame) -> dict[str, Any]:
    """How many models and questions there are, and how far chance carries an accuracy."""
    models, accuracy = probes.drop_duplicates("run"), answered(probes)
    experts = sorted(models["n_experts"].unique())
    return {
        "ds_models": f"{len(models)}",
        "ds_equal": f"{int(models['equal'].sum())}",
        "ds_experts": ", ".join(map(str, experts)),
        "ds_most": f"{experts[-1]}",
        "ds_loss_low": f"{models['loss'].min():.2f}",
        "ds_loss_high": f"{models['loss'].max():.2f}",
        "ds_items": f"{int(accuracy.groupby('run')['items'].sum().max()):,}",
        "ds_se": f"{100 * accuracy['se'].median():.1f}",
    }


def error_figure(probes: pd.DataFrame, found: pd.DataFrame, level: float) -> alt.FacetChart:
    """Error against loss, a panel a probe and domain, with the curves of the fits."""
    able = found[(found["metric"] == "accuracy") & (found["probe"] != "mention")]
    shown, lines = _scores(answered(probes), level)
    return figures.score_by_loss(
        shown.assign(score=1 - shown["score"], chance=1 - shown["chance"]),
        lines.assign(score=1 - lines["score"]),
        title=f"{int((able['finding'] != _SILENT).sum())} of {len(able)} errors follow the loss (wrong answers against "
        "nats per token)",
        description="Error against validation loss, a panel a probe and domain, models as points with standard errors, "
        "coloured by experts; the dashed line is the error of a guess.",
    )


def effect_table(found: pd.DataFrame) -> pd.DataFrame:
    """The effect of most experts on each accuracy at equal loss, in percentage points."""
    judged = found[found["metric"] == "accuracy"]
    columns = {"over guessing": "above", "per nat": "by_loss", "at equal loss": "effect", "from": "low", "to": "high"}
    table = pd.DataFrame({"probe": _panels(judged)} | {name: 100 * judged[column] for name, column in columns.items()})
    return readable(table.assign(finding=judged["finding"]).set_index("probe"), "{:+.1f}")


def apart(found: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The accuracies that can be judged at equal loss, and those of them that tell sparse from dense."""
    judged = found[found["metric"] == "accuracy"]
    able = judged[judged["finding"] != _SILENT]
    return able, able[able["finding"] != "no difference seen"]


def effect_figure(found: pd.DataFrame) -> alt.LayerChart:
    """The same as points with intervals, knowing before reading."""
    able, differ = apart(found)
    judged = found[found["metric"] == "accuracy"]
    answers = judged.assign(
        panel=_panels(judged), kind=judged["probe"].isin(READING).map({True: "reading", False: "knowing"})
    ).sort_values("kind", kind="stable")
    points = answers.assign(**{name: 100 * answers[name] for name in ("effect", "low", "high")})
    return figures.effects(
        points,
        unit="percentage points at equal loss",
        title=f"{len(differ)} of {len(able)} tell sparse from dense at equal loss",
        description="Effect of the most experts on the accuracy at equal loss with intervals, a row a probe and "
        "domain; right of zero sparse models do better.",
        share=False,
    )


def effect_numbers(found: pd.DataFrame, level: float) -> dict[str, Any]:
    """How many accuracies tell sparse from dense, how many chance alone would, and which."""
    able, differ = apart(found)
    judged = found[found["metric"] == "accuracy"]
    reading = judged["probe"].isin(READING)
    named = pd.concat([judged[~reading], judged[reading]])
    words = {"worse": "sparse worse", "better": "sparse better", "left": _SILENT}
    return {
        "ds_able": f"{len(able)}",
        "ds_apart": f"{len(differ)}",
        "ds_chance": f"{(1 - level) * len(able):.1f}",
    } | {f"ds_{key}": listed(_panels(named[named["finding"] == word]), between="; ") for key, word in words.items()}


def knowing(found: pd.DataFrame) -> pd.DataFrame:
    """The accuracies of probes that ask what was learned."""
    return found[(found["metric"] == "accuracy") & ~found["probe"].isin(READING)]


def pooled(probes: pd.DataFrame, found: pd.DataFrame, level: float) -> EqualLoss:
    """The effect on all of them together."""
    return equal_loss(pool(probes, knowing(found), "knowing"), level)


def penalty_table(found: pd.DataFrame, together: EqualLoss) -> pd.DataFrame:
    """The effects in nats of loss that would make up for them."""
    some = knowing(found)
    nats = pd.DataFrame([*some[some["penalty"].notna()].to_dict("records"), asdict(together)])
    said = [
        f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
        for value, low, high in nats[["penalty", "penalty_low", "penalty_high"]].to_numpy()
    ]
    return pd.DataFrame({"penalty (nats)": said}, index=pd.Index(_panels(nats), name="probe"))


def penalty_numbers(together: EqualLoss) -> dict[str, Any]:
    """Which side does better at equal loss, all that was learned together, and by how many nats."""
    side = "as good as" if together.low <= 0 <= together.high else "worse than" if together.low > 0 else "better than"
    return {
        "ds_side": side,
        "ds_pool": f"{together.penalty:+.3f}",
        "ds_pool_low": f"{together.penalty_low:+.3f}",
        "ds_pool_high": f"{together.penalty_high:+.3f}",
    }


def reading_numbers(probes: pd.DataFrame, level: float) -> dict[str, Any]:
    """How well the models recall, and what the text at hand saves them."""
    accuracy, nats = answered(probes), gains(probes)
    recall = accuracy[accuracy["probe"] == "recall"]
    above = ((recall["value"] - recall["chance"]) / recall["se"]).groupby(recall["domain"]).mean()
    mean, order = nats.groupby("probe")["value"].mean(), nats[nats["probe"] == "same order"]
    copies = bool((order["value"] > 4 * order["se"]).any())
    guessing = (recall["value"] - recall["chance"]).mean() < 0.03
    return {
        "ds_recall": " and ".join(f"{100 * v:.1f}" for v in recall.groupby("domain")["value"].mean()),
        "ds_recall_z": " and ".join(f"{z:+.1f}" for z in above),
        "ds_mention": f"{mean['mention']:.3f}",
        "ds_words": f"{mean['same words']:.3f}",
        "ds_order": f"{mean['same order']:+.3f}",
        "ds_copies": "some models copy" if copies else "no model copies",
        "ds_memory": "also" if copies else "not",
        "ds_guess": "at the level of guessing" if guessing else "above the level of guessing",
        "ds_level": f"{100 * level:.0f}",
    }


def gain_figure(probes: pd.DataFrame, level: float) -> alt.FacetChart:
    """The gains from the text at hand against loss."""
    nats = gains(probes)
    clear = nats.assign(clear=nats["value"] > 2 * nats["se"]).groupby(["probe", "run"])["clear"].any()
    share = clear.groupby("probe").mean()
    return figures.score_by_loss(
        *_scores(nats, level),
        title=f"Mentions help {share['mention']:.0%} of the models (gain in nats against loss in nats per token)",
        description="Gains from the context against validation loss, a panel a probe and domain, with standard errors.",
        share=False,
    )


def family(probes: pd.DataFrame, found: pd.DataFrame, level: float) -> pd.DataFrame:
    """The comparisons at a level at which all of them together err as seldom as one does."""
    return compare_at_equal_loss(probes, 1 - (1 - level) / max(1, len(apart(found)[0])))


def relative_figure(judged: pd.DataFrame) -> alt.LayerChart:
    """The relative effect of most experts on the gains that are there at all."""
    nats = gains(judged)
    told = nats[(nats["finding"] != _SILENT) & (nats["above_low"] > 0)]
    shares = told.assign(panel=_panels(told), kind=told["probe"])
    shares[["effect", "low", "high"]] = shares[["effect", "low", "high"]].div(shares["above"], axis=0)
    better, worse = (int((told["finding"] == word).sum()) for word in ("sparse better", "sparse worse"))
    return figures.effects(
        shares,
        unit="change of the gain at equal loss",
        title=f"Of {len(told)} gains, {better} larger in sparse models, {worse} smaller",
        description="Relative effect of the most experts on the gains at equal loss with intervals, a row a probe.",
    )


def domain_figure(probes: pd.DataFrame) -> alt.Chart:
    """How far the loads of the experts differ between the two domains, by layer."""
    distances = domain_distances(probes)
    distances = distances.assign(layer=distances["layer"].map("layer {}".format))
    most = distances["n_experts"].max()
    means = distances[distances["n_experts"] == most].groupby("layer")["distance"].mean()
    return figures.domain_distances(
        distances,
        title=f"At E = {most} layer 1 parts by {means.iloc[0]:.0%}, layer {len(means)} by {means.iloc[-1]:.0%}",
        description="Total variation distance between the expert loads of the two domains against experts, by layer.",
    )


def verdicts(probes: pd.DataFrame, claims_file: str, placebos: int) -> list[Judged]:
    """The paper's claims on tasks, judged as everywhere in this book, and beside their placebos.

    Args:
        probes: of the first text's models.
        claims_file: the paper's claims.
        placebos: draws of the placebos' scatter.
    """
    study = Study(TEXT, pd.DataFrame(), {}, (), {}, (), probes)
    claims = [claim for claim in read_claims(claims_file) if claim.key.startswith("downstream")]
    return judge_all(claims, study, placebo_probe_studies(study, placebos))


def verdict_numbers(found: Sequence[Judged]) -> dict[str, Any]:
    """The two words and their measurements, for the chapter's first screen."""
    return {
        f"ds_{name}_{what}": text
        for name, key in (("know", "downstream-s"), ("read", "downstream-reading"))
        for each in found
        if each.claim.key == key
        for what, text in (("word", each.text), ("found", "; ".join(one.text or one.open for one in each.findings)))
    }


def _panels(rows: pd.DataFrame) -> "pd.Series[str]":
    return rows["probe"] + ", " + rows["domain"].map(_NAMES).fillna(rows["domain"])


def _scores(rows: pd.DataFrame, level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    lines = [_line(group, level) for _, group in rows.groupby(["probe", "domain"], sort=False)]
    shown = rows.assign(panel=_panels(rows), score=rows["value"])
    columns = ["panel", "loss", "score", "se", "chance", "n_experts"]
    return shown[columns], pd.concat(lines).rename(columns={"value": "score"})


def _line(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    line = curve(rows, equal_loss(rows, level))
    experts = (1 / (1 - line["sparsity"])).round().astype(int)
    return line.assign(panel=_panels(rows).iloc[0], n_experts=experts)
