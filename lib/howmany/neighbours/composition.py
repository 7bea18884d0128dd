"""The chapter on composition: into how many experts is a layer best cut, how many shared, and do shapes rank alike?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from scipy import stats

from howmany.neighbours.words import Found, verdicts, words
from howmany.page import listed
from howmany.study import budget_label
from howmany.verdict import Finding, Judged, finding
from moelaws.charts.tables import readable
from moelaws.charts.theme import CATEGORIES
from moelaws.laws import law
from moelaws.runs import finished, read_runs
from moelaws.surfaces.polynomial import Array

_DRAWS = 4000
_SHAPE = ["n_layers", "head_channels", "ffn_ratio"]


@dataclass(frozen=True)
class Cells:
    """Mean losses of cells, and how well each is known.

    Attributes:
        means: one row a cell: its columns, ``loss`` and ``runs``.
        noise: standard deviation of one run beside others of its seed, pooled over all cells.
        freedom: degrees of freedom of it.
    """

    means: pd.DataFrame
    noise: float
    freedom: int

    def error(self, runs: Any) -> Any:
        """Standard error of a mean of so many runs."""
        return self.noise / np.sqrt(runs)

    def interval(self, runs: Any) -> Any:
        """Half of the 95 % interval of it."""
        return stats.t.ppf(0.975, self.freedom) * self.error(runs)

    def drawn(self, losses: Array, runs: Array, rng: np.random.Generator) -> Array:
        """Losses as they may as well have come out: the means first, then draws x cells."""
        spread = rng.standard_t(self.freedom, (_DRAWS, len(losses))) * self.error(runs)
        return np.vstack([losses, losses + spread])


def cells(runs: pd.DataFrame, by: Sequence[str]) -> Cells:
    """Means of the runs that differ in their seed alone.

    Runs of one seed read the same batches: what a seed shifts in all cells of the first column in ``by`` (a budget, a
    width) is no noise of their differences.

    Raises:
        ValueError: no cell has two runs, so that nobody knows the noise.
    """
    grouped = runs.groupby(list(by))["loss"]
    means = grouped.agg(["mean", "size"]).reset_index().rename(columns={"mean": "loss", "size": "runs"})
    blocks = runs.groupby(by[0])
    shift = runs.groupby([by[0], "seed"])["loss"].transform("mean") - blocks["loss"].transform("mean")
    freedom = int((means["runs"] - 1).sum() - (blocks["seed"].nunique() - 1).sum())
    if freedom < 1:
        raise ValueError("composition: no two runs differ in their seed alone")
    squares = float(((runs["loss"] - shift - grouped.transform("mean")) ** 2).sum())
    return Cells(means, float(np.sqrt(squares / freedom)), freedom)


def read_layers(runs_file: str) -> Cells:
    """The sweep ``composition``: losses by budget, active experts and the share of them that is shared."""
    runs = finished(read_runs(runs_file))
    runs["active"] = runs["top_k"] + runs["shared_experts"]
    runs["share"] = runs["shared_experts"] / runs["active"]
    return cells(runs, ["budget", "active", "share"])


def read_shapes(runs_file: str) -> Cells:
    """The sweep ``shapes``: losses by width, depth, width of a head and of the feed-forward network."""
    runs = finished(read_runs(runs_file))
    runs["head_channels"] = runs["d_model"] // runs["n_heads"]
    runs["ffn_ratio"] = runs["d_ff"] // runs["d_model"]
    return cells(runs, ["d_model", *_SHAPE])


def best_active(layers: Cells, rng: np.random.Generator, flat: bool = False) -> list[Finding]:
    """The number of active experts with the lowest loss, at each budget; ``flat``: where it has no effect."""
    made = []
    for budget, group in _unshared(layers).groupby("budget"):
        losses = group["loss"].to_numpy()
        if flat:
            losses = losses.mean() + rng.standard_t(layers.freedom, len(losses)) * layers.error(group["runs"])
        drawn = layers.drawn(np.asarray(losses), group["runs"].to_numpy(), rng)
        best = group["active"].to_numpy()[drawn.argmin(1)]
        made.append(finding(_label(budget), best.astype(float)))
    return made


def _unshared(layers: Cells) -> pd.DataFrame:
    return layers.means[layers.means["share"] == 0].sort_values("active")


def gains(layers: Cells, less: float, more: float, rng: np.random.Generator | None = None) -> list[Finding]:
    """Loss with one share of shared experts less that with another, at each budget and number of active experts.

    Args:
        layers: the losses.
        less, more: the shares; positive where ``more`` is better.
        rng: instead of the losses, noise alone.
    """
    table = layers.means.pivot(index=["budget", "active"], columns="share", values=["loss", "runs"]).dropna()
    made = []
    for (budget, active), (_, row) in zip(table.index.tolist(), table.iterrows(), strict=True):
        error = layers.error(1) * np.sqrt(1 / row["runs", less] + 1 / row["runs", more])
        gain = row["loss", less] - row["loss", more] if rng is None else error * rng.standard_t(layers.freedom)
        reach = stats.t.ppf(0.975, layers.freedom) * error
        where = f"{_label(budget)}, {active:.0f} active"
        made.append(Finding(where, float(gain), float(gain - reach), float(gain + reach), "nats"))
    return made


def ranking(shapes: Cells, rng: np.random.Generator, shuffled: bool = False) -> Finding:
    """Spearman's correlation of the losses of the same shapes at the two widths, with its interval."""
    table = shapes.means.pivot(index=_SHAPE, columns="d_model", values=["loss", "runs"]).dropna()
    sides = [table["loss"][width].to_numpy() for width in table["loss"]]
    if shuffled:
        sides[1] = rng.permutation(sides[1])
    counts = [table["runs"][width].to_numpy() for width in table["runs"]]
    drawn = [shapes.drawn(side, count, rng) for side, count in zip(sides, counts, strict=True)]
    ranks = [stats.rankdata(each, axis=1) for each in drawn]
    centred = [each - each.mean(1, keepdims=True) for each in ranks]
    scale = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    rho = (centred[0] * centred[1]).sum(1) / scale
    widths = " and ".join(f"d = {width}" for width in table["loss"])
    return finding(widths, rho)


def seeds_alike(runs_file: str) -> dict[int, float]:
    """What a ranking can be: Spearman's correlation of two seeds at one width, by width."""
    runs = finished(read_runs(runs_file))
    found = {}
    for width in sorted(map(int, runs["d_model"].unique())):
        group = runs[runs["d_model"] == width]
        table = group.pivot_table(index=["n_layers", "n_heads", "d_ff"], columns="seed", values="loss").dropna()
        found[width] = float(stats.spearmanr(*table.to_numpy().T).statistic)
    return found


def expansions(study_file: str, draws: int = 1000) -> list[Finding]:
    """Total over active parameters at the best number of experts of each budget; K = G = 1.

    The lowest loss over sizes at each number of experts is the vertex of a parabola in ln(active parameters); noise as
    large as what the parabolas leave makes the interval.
    """
    runs = finished(read_runs(study_file)).query("top_k == 1 and granularity == 1")
    rng = np.random.default_rng(0)
    made = []
    for budget, group in runs.groupby("budget"):
        curves = [_Curve.of(part) for _, part in group.groupby("n_experts") if part["active_params"].nunique() > 2]
        freedom = sum(len(curve.losses) - 3 for curve in curves)
        if freedom < 1:
            continue
        noise = np.sqrt(sum(((curve.losses - curve.fitted) ** 2).sum() for curve in curves) / freedom)
        drawn = [curve.lowest(noise, draws, rng) for curve in curves]
        best = np.array([loss for loss, _ in drawn]).argmin(0)
        ratios = np.array([ratio for _, ratio in drawn])
        made.append(finding(_label(budget), ratios[best, np.arange(draws + 1)]))
    return made


@dataclass(frozen=True)
class _Curve:
    """Losses of one number of experts at one budget, and a parabola through them in ln(active parameters)."""

    sizes: Array
    losses: Array
    ratios: Array
    solve: Array

    @classmethod
    def of(cls, runs: pd.DataFrame) -> "_Curve":
        sizes = np.log(runs["active_params"].to_numpy(float))
        sizes = sizes - sizes.mean()
        ratios = (runs["total_params"] / runs["active_params"]).to_numpy(float)
        return cls(sizes, runs["loss"].to_numpy(float), ratios, np.linalg.pinv(np.vander(sizes, 3)))

    @property
    def fitted(self) -> Array:
        return np.asarray(np.vander(self.sizes, 3) @ (self.solve @ self.losses))

    def lowest(self, noise: float, draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """The lowest loss and the ratio of parameters there, of the fit and of draws."""
        again = self.fitted + noise * rng.normal(size=(draws, len(self.losses)))
        square, slope, middle = self.solve @ np.vstack([self.losses, again]).T
        inside = np.clip(-slope / (2 * np.where(square > 0, square, 1)), self.sizes.min(), self.sizes.max())
        ends = np.where(slope > 0, self.sizes.min(), self.sizes.max())
        at = np.where(square > 0, inside, ends)
        near = np.abs(self.sizes - at[:, None]).argmin(1)
        return middle + slope * at + square * at**2, self.ratios[near]


def found(layers: Cells, shapes: Cells, study_file: str) -> Found:
    """What is known of every quantity."""
    rng = np.random.default_rng(0)
    return {
        "best_active": best_active(layers, rng),
        "shared_gain": gains(layers, 0.0, 0.25),
        "half_gain": gains(layers, 0.25, 0.5),
        "rank": [ranking(shapes, rng)],
        "expansion": expansions(study_file),
    }


def placebos(layers: Cells, shapes: Cells, count: int) -> list[Found]:
    """The quantities where nothing has an effect but noise."""
    made: list[Found] = []
    for draw in range(1, count + 1):
        rng = np.random.default_rng(draw)
        made.append({
            "best_active": best_active(layers, rng, flat=True),
            "shared_gain": gains(layers, 0.0, 0.25, rng),
            "half_gain": gains(layers, 0.25, 0.5, rng),
            "rank": [ranking(shapes, rng, shuffled=True)],
        })  # fmt: skip
    return made


def judged(said: Found, claims_file: str, blind: Sequence[Found]) -> list[Judged]:
    """The verdicts."""
    return verdicts(claims_file, said, "composition runs", blind)


def figure(layers: Cells) -> alt.FacetChart:
    """Loss against the number of active experts, a line a share of shared ones, a panel a budget."""
    table = layers.means.assign(
        panel=[f"{budget_label(budget)} FLOPs" for budget in layers.means["budget"]],
        shared=[_share(share) for share in layers.means["share"]],
        low=layers.means["loss"] - layers.interval(layers.means["runs"]),
        high=layers.means["loss"] + layers.interval(layers.means["runs"]),
    )
    shares = [_share(share) for share in sorted(layers.means["share"].unique())]
    base = alt.Chart().encode(
        x=alt.X("active:Q", title="active experts").scale(type="log", base=2, nice=False, padding=10),
        color=alt.Color("shared:N", title="of them shared", sort=shares).scale(
            domain=shares, range=list(CATEGORIES[: len(shares)])
        ),
        xOffset="shared:N",
    )
    y = alt.Y("loss:Q", title="loss (nats/token)").scale(zero=False)
    best = _unshared(layers).sort_values("loss").groupby("budget").head(1).sort_values("budget")
    return (
        alt.layer(
            base.mark_rule(opacity=0.6).encode(y=alt.Y("low:Q").scale(zero=False), y2="high:Q"),
            base.mark_line().encode(y=y),
            base.mark_point(filled=True, size=40).encode(y=y, tooltip=["panel", "active", "shared", "loss", "runs"]),
        )
        .properties(width=270, height=260)
        .facet(alt.Facet("panel:N", title=None), columns=2, data=table)
        .resolve_scale(y="independent")
        .properties(
            title="Lowest without shared experts: "
            + listed(
                f"{active:.0f} active at {_label(budget)}"
                for active, budget in zip(best["active"], best["budget"], strict=True)
            ),
            description="Loss against the number of active experts at equal parameters and FLOPs, a line a share of "
            "experts that all tokens pass through, a panel a budget, with 95 percent intervals.",
        )
    )


def _share(share: float) -> str:
    return {0.0: "none", 0.25: "a quarter", 0.5: "a half"}[share]


def shape_table(shapes: Cells) -> pd.DataFrame:
    """Each shape's rank and loss at the two widths."""
    table = shapes.means.pivot(index=_SHAPE, columns="d_model", values="loss").dropna()
    ranks = table.rank().astype(int)
    made = pd.DataFrame(
        {
            f"d = {width}, {what}": values[width]
            for width in table
            for what, values in (("rank", ranks), ("loss", table))
        }
    ).sort_values(f"d = {table.columns[0]}, rank")
    made.index = made.index.set_names(["layers", "head width", "d_ff / d"])
    return readable(made, "{:.0f}", {str(name): "{:.3f}" for name in made if str(name).endswith("loss")})


def published_table(sizes: Mapping[str, float]) -> pd.DataFrame:
    """What the printed law has best: active experts, their shared share, and the active share of all parameters."""
    zhao = law("zhao2025")
    values = zhao.published["all"]
    rows = []
    for name, total in sizes.items():
        active_G, share_S = np.linspace(1, 16, 301), np.linspace(0, 0.9, 181)
        grid_G, grid_S = np.meshgrid(active_G, share_S, indexing="ij")
        about = {"total_params": total, "active_params": total * 0.3, "tokens": 1e12}
        losses = np.asarray(
            zhao.predict(values, about | {"top_k": grid_G * (1 - grid_S), "shared_experts": grid_G * grid_S})
        )
        at_G, at_S = np.unravel_index(losses.argmin(), losses.shape)
        best_G, best_S = active_G[at_G], share_S[at_S]
        ratios = np.geomspace(0.02, 1, 2001)
        split = {"top_k": best_G * (1 - best_S), "shared_experts": best_G * best_S, "tokens": 1e12}
        curve = np.asarray(zhao.predict(values, split | {"total_params": total, "active_params": total * ratios}))
        rows.append({
            "total parameters": name, "active experts": best_G, "of them shared": best_S,
            "active parameters of all": ratios[int(curve.argmin())],
        })  # fmt: skip
    table = pd.DataFrame(rows).set_index("total parameters")
    return readable(table, "{:.0%}", {"active experts": "{:.1f}"})


def wan_tokens(budget: float) -> float:
    """Tokens that Wan et al. would train on at a budget."""
    wan = law("wan2026")
    return float(wan.predict(wan.published["optimal"], {"train_flops": budget}))


def numbers(layers: Cells, shapes: Cells, shapes_file: str, said: Found, made: Sequence[Judged]) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    word = words(list(made))
    alike = seeds_alike(shapes_file)
    return {
        "co_runs": f"{int(layers.means['runs'].sum())}",
        "co_shape_runs": f"{int(shapes.means['runs'].sum())}",
        "co_best": listed(
            f"{each.value:.0f} [{each.low:.0f}, {each.high:.0f}] at {each.where}" for each in said["best_active"]
        ),
        "co_cut": listed(_cut(layers), between="; "),
        "co_shared": listed((f"{each.text} ({each.where})" for each in said["shared_gain"]), between="; "),
        "co_noise": f"{layers.noise:.3f}",
        "co_rank": said["rank"][0].text,
        "co_seeds": listed(f"{value:.2f} at d = {width}" for width, value in alike.items()),
        "co_expansion": listed(
            f"{each.value:.0f} [{each.low:.0f}, {each.high:.0f}] at {each.where}" for each in said["expansion"]
        ),
        "co_wan": f"{wan_tokens(1e12) / 1e6:.0f}",
        "co_word_g": word["g-about-7"],
        "co_word_s": word["s-third"],
        "co_word_flat": word["s-flat"],
        "co_word_rank": word["rank-kept"],
        "co_word_expansion": word["expansion-flat"],
    }


def _label(budget: Any) -> str:
    return budget_label(float(budget))


def _cut(layers: Cells) -> list[str]:
    """What the best cut is worth over one wide expert, with its interval, at each budget."""
    made = []
    for budget, group in _unshared(layers).groupby("budget"):
        whole, best = group.iloc[0], group.iloc[int(group["loss"].argmin())]
        gain = whole["loss"] - best["loss"]
        error = stats.t.ppf(0.975, layers.freedom) * layers.noise * np.sqrt(1 / whole["runs"] + 1 / best["runs"])
        made.append(f"{gain:.3f} [{gain - error:.3f}, {gain + error:.3f}] nats at {_label(budget)}")
    return made
