"""Figures of laws and their fits: starts, valleys, profiles, the gain from experts, forecasts with bands."""

import altair as alt
import pandas as pd

from moelaws.charts.isoflop_curves import BILLIONS, sparsity_scale
from moelaws.charts.theme import CATEGORIES, INK, QUIET, expert_scale, letter

Chart = alt.Chart | alt.LayerChart | alt.FacetChart

EXPERTS = "experts E, or experts per active expert"


def objective_by_start(starts: pd.DataFrame) -> alt.LayerChart:
    """Where a fit's starts end, as multiples of the least objective.

    Arguments:
        starts: `reduction` (mean or sum), `ratio` of the objective to the least one, one row a start.
    """
    marks = (
        alt.Chart(starts)
        .mark_tick(thickness=2, size=26)
        .encode(
            x=alt.X("ratio:Q", title="objective at the end, in units of the least").scale(type="log", domainMin=0.8),
            y=alt.Y("reduction:N", title="Huber losses are"),
            color=alt.Color("reduction:N", legend=None),
        )
    )
    best = alt.Chart(pd.DataFrame({"x": [1.0]})).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(x="x:Q")
    return (best + marks).properties(
        title="How far above the least objective each start ends",
        width="container",
        height=110,
        description="Ends of the same starts under two objectives: with the mean none comes near the least objective, "
        "with the sum a few reach it.",
    )


def valley(replicates: pd.DataFrame, truth: pd.DataFrame) -> alt.HConcatChart:
    """Bootstrap refits in pairs of coefficients: size term against its exponent, exponents against the floor.

    Arguments:
        replicates: `A`, `alpha`, `beta`, `E`, one row a refit.
        truth: the same columns, the coefficients that made the runs.
    """

    def pair(x: str, y: str, logarithmic: bool) -> alt.LayerChart:
        encoding = {
            "x": alt.X(f"{x}:Q", title=letter(x)).scale(zero=False),
            "y": alt.Y(f"{y}:Q", title=letter(y)).scale(
                **({"type": "log", "nice": False, "padding": 10} if logarithmic else {"zero": False})
            ),
        }
        cloud = alt.Chart(replicates).mark_point(size=12, opacity=0.4, color=CATEGORIES[0]).encode(**encoding)
        cross = alt.Chart(truth).mark_point(shape="cross", size=160, color=INK, filled=True).encode(**encoding)
        return (cloud + cross).properties(width=280, height=240)

    return alt.hconcat(pair("alpha", "A", True), pair("E", "beta", False)).properties(
        title="Refits leave the coefficients open along a line",
        description="Bootstrap refits lie along narrow curves: the factor A rises with its exponent alpha, and beta "
        "rises with the floor E.",
    )


def profile_curve(points: pd.DataFrame, name: str, bound: float = 3.84) -> alt.LayerChart:
    """Rise of the objective along one parameter, and the level that bounds its interval.

    Arguments:
        points: a column with the parameter's name, and `rise`.
        name: the parameter.
        bound: the rise at the ends of the interval.
    """
    said = letter(name)
    x = alt.X(f"{name}:Q", title=said).scale(zero=False)
    line = (
        alt.Chart(points)
        .mark_line(point=True, interpolate="monotone")
        .encode(x=x, y=alt.Y("rise:Q", title="rise of the objective"))
    )
    level = alt.Chart(pd.DataFrame({"y": [bound]})).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y="y:Q")
    return (line + level).properties(
        title=f"What it costs to hold {said}; below the dashed line: its 95 % interval",
        width="container",
        height=220,
        description=f"The objective rises on both sides of the best {said}; a dashed line bounds the 95 % interval.",
    )


def predicted_loss_by_experts(table: pd.DataFrame, title: str) -> alt.Chart:
    """Loss against the number of experts, a line for each size.

    Arguments:
        table: `n_experts`, `loss`, `size` (text).
        title: what the lines are.
    """
    return (
        alt.Chart(table)
        .mark_line(point=True)
        .encode(
            x=alt.X("n_experts:Q", title="experts E").scale(type="log", base=2),
            y=alt.Y("loss:Q", title="loss (nats per token)").scale(type="log", nice=False),
            color=alt.Color("size:N", title=title, sort=list(dict.fromkeys(table["size"]))),
        )
        .properties(
            title="Each doubling of the experts saves less in a larger model",
            width="container",
            height=280,
            description="Loss falls with the number of experts, ever more slowly, and less for larger models.",
        )
    )


def gain_by_size(table: pd.DataFrame) -> alt.Chart:
    """The share of the loss that experts save, against size, a line for each number of experts.

    Arguments:
        table: `active_params`, `n_experts`, `gain` (share of the dense loss), `panel` (text: which law, which tokens).
    """
    return (
        alt.Chart(table)
        .mark_line()
        .encode(
            x=alt.X("active_params:Q", title="active parameters")
            .scale(type="log")
            .axis(labelExpr=BILLIONS, tickCount=4),
            y=alt.Y("gain:Q", title="loss saved by the experts").axis(format="%"),
            color=alt.Color("n_experts:O", title="E", scale=expert_scale(table["n_experts"])),
            facet=alt.Facet("panel:N", title=None, columns=3, sort=list(dict.fromkeys(table["panel"]))),
        )
        .properties(
            title="What experts save, by size: it depends on the tokens",
            width=185,
            height=220,
            description="The gain from experts against size: Clark's law lets it vanish near a trillion parameters; "
            "the joint law lets it level off at the same tokens, and peak near a billion with more tokens.",
        )
    )


def best_sizes_by_fit(table: pd.DataFrame, asked: float, title: str, description: str) -> alt.LayerChart:
    """The best size at each budget, a line for each fit, and the budget that is asked about.

    Arguments:
        table: `fit` (text), `train_flops`, `active_params`.
        asked: a budget, in FLOPs.
        title: the finding.
        description: alt text.
    """
    lines = (
        alt.Chart(table)
        .mark_line()
        .encode(
            x=alt.X("train_flops:Q", title="training FLOPs C").scale(type="log").axis(format="~e", tickCount=5),
            y=alt.Y("active_params:Q", title="best parameters N*")
            .scale(type="log")
            .axis(labelExpr=BILLIONS, tickCount=5),
            color=alt.Color("fit:N", title=None, sort=list(dict.fromkeys(table["fit"]))),
        )
    )
    at = alt.Chart(pd.DataFrame({"x": [asked]})).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(x="x:Q")
    return (at + lines).properties(width="container", height=240, title=title, description=description)


def multipliers(table: pd.DataFrame, bands: bool = False) -> Chart:
    """Dense-equivalent compute against sparsity, a line for each law.

    Arguments:
        table: `law`, `ratio` (experts per active expert), `multiplier`; with `bands` also `low` and `high`.
        bands: whether to draw intervals.
    """
    base = alt.Chart(table).encode(
        x=alt.X("ratio:Q", title=EXPERTS).scale(type="log", base=2),
        color=alt.Color("law:N", title=None, sort=list(dict.fromkeys(table["law"]))).legend(columns=2),
    )
    layers = [
        base.mark_line(point=True).encode(y=alt.Y("multiplier:Q", title="times the compute").scale(type="log", base=2))
    ]
    if bands:
        layers.insert(0, base.mark_area().encode(y="low:Q", y2="high:Q"))
    return alt.layer(*layers).properties(
        title="How many times its compute a mixture is worth, law by law",
        width="container",
        height=300,
        description="How many times its compute a mixture is worth, by law: all rise with sparsity, and they "
        "disagree by a factor of several at 64 experts.",
    )


def forecast(table: pd.DataFrame, truth: pd.DataFrame, runs: pd.DataFrame) -> Chart:
    """A forecast with its band against the truth, and the range of the runs it was fitted to.

    Arguments:
        table: `train_flops`, `value`, `low`, `high`, `sparsity` (numbers).
        truth: `train_flops`, `value`, `sparsity`.
        runs: one row, `first` and `last` budget of the runs.
    """
    x = alt.X("train_flops:Q", title="budget C (FLOPs)").scale(type="log").axis(format="~e", tickCount=5)
    y = alt.Y("value:Q", title="best total parameters N*").scale(type="log").axis(labelExpr=BILLIONS, tickCount=5)
    shares = sorted(set(table["sparsity"]))
    colour = alt.Color("sparsity:O", title="S", scale=sparsity_scale(shares))
    seen = alt.Chart(runs).mark_rect(color=QUIET, opacity=0.12).encode(x="first:Q", x2="last:Q")
    band = alt.Chart(table).mark_area().encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour)
    line = alt.Chart(table).mark_line().encode(x=x, y=y, color=colour)
    dots = alt.Chart(truth).mark_point(shape="cross", size=60).encode(x=x, y=y, color=colour)
    return alt.layer(seen, band, line, dots).properties(
        title="The best size, foreseen; crosses: the truth, grey: the budgets that were run",
        width="container",
        height=300,
        description="Forecast of the best size with its interval, which widens outside the grey range of budgets that "
        "were run; crosses are the truth.",
    )


def observed_against_predicted(
    runs: pd.DataFrame, target: str = "loss", law: str = "the law", width: int = 420
) -> alt.VConcatChart:
    """Losses against what a law says of them, and below what it leaves over.

    Arguments:
        runs: `observed`, `predicted`, `residual`, one row a run.
        target: what is predicted.
        law: its name, for the description.
        width: of the plots, in pixels.
    """
    x = alt.X("predicted:Q", title=f"predicted {target}").scale(zero=False, nice=False, padding=12)
    ends = runs[["observed", "predicted"]].agg(["min", "max"])
    both = pd.DataFrame({"at": [ends.loc["min"].min(), ends.loc["max"].max()]})
    agree = alt.Chart(both).mark_line(color=QUIET, strokeDash=[4, 3], strokeWidth=1.5).encode(x="at:Q", y="at:Q")
    base = alt.Chart(runs).encode(x=x, tooltip=["observed", "predicted", "residual"])
    points = base.mark_point(color=CATEGORIES[0]).encode(
        y=alt.Y("observed:Q", title=f"observed {target}").scale(zero=False, nice=False, padding=12)
    )
    zero = alt.Chart(pd.DataFrame({"y": [0.0]})).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y="y:Q")
    left = base.mark_point(color=CATEGORIES[0]).encode(y=alt.Y("residual:Q", title="residual"))
    return alt.vconcat(
        (agree + points).properties(width=width, height=260), (zero + left).properties(width=width, height=120)
    ).properties(
        description=f"{len(runs)} observed values against the predictions of {law}, along a dashed diagonal where they "
        "agree; below, the residuals around zero."
    )
