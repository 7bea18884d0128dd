"""Is there a largest useful number of experts: E_max held at one value after another, and Clark's form in slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.figures import expert_gains as figures
from moelaws.charts.tables import readable
from moelaws.fitting.fit import fit
from moelaws.fitting.intervals.profile import profile
from moelaws.fitting.result import FitResult
from moelaws.fitting.scan import allowed, scan
from moelaws.laws import Law, law
from moelaws.laws.saturation import endless, ends_of, saturating


@dataclass(frozen=True)
class Saturation:
    """What runs say of E_max, held at one value after another.

    Attributes:
        scans: whose runs -> ``value`` of E_max and ``rise`` of the objective.
        values: the values of E_max at which it was held, the fit's own aside.
        most: experts that were trained at most.
    """

    scans: Mapping[str, pd.DataFrame]
    values: Sequence[float]
    most: int

    @property
    def allowed(self) -> tuple[float, float]:
        """The least and the largest value of E_max that our runs allow."""
        return allowed(next(iter(self.scans.values())))

    @property
    def bounded(self) -> bool:
        """Whether our runs bound E_max on both sides."""
        low, high = self.allowed
        return min(self.values) < low and high < max(self.values)

    @property
    def written(self) -> Any:
        """How a law is to be written: with an E_max if our runs bound it, else without."""
        return saturating if self.bounded else endless

    def words(self, place: int = 0) -> str:
        """What our runs (0) or the made ones (1) allow."""
        low, high = allowed(list(self.scans.values())[place])
        ends = [
            f"down to {low:.3g}" if low > min(self.values) else "",
            f"up to {high:.3g}" if high < max(self.values) else "",
        ]
        if all(ends):
            return f"allow {low:.3g}" if low == high else f"allow values from {low:.3g} to {high:.3g}"
        return f"allow values {''.join(ends)}" if any(ends) else "allow all of them"


def made_runs(held: FitResult, runs: pd.DataFrame, noise: float) -> pd.DataFrame:
    """The same design with losses that a fitted law made, and noise (of ln L)."""
    errors = np.random.default_rng(1).normal(size=len(runs))
    return runs.assign(loss=held.predict(runs) * np.exp(noise * errors))


def saturation(
    tables: Mapping[str, tuple[FitResult, pd.DataFrame]], values: Sequence[float], most: int, starts: int
) -> Saturation:
    """Hold E_max at one value after another and refit the rest, from many starts each time.

    Args:
        tables: whose runs -> a free fit and the runs; ours come first.
        values: of E_max.
        most: experts that were trained at most.
        starts: of each refit.
    """
    scans = {}
    for name, (free, table) in tables.items():
        found = scan(free, free.law, table, "m", [1 / v for v in values], starts=starts).assign(panel=name)
        scans[name] = found.assign(value=1 / found["value"])
    return Saturation(scans, values, most)


def rises(found: Saturation) -> pd.DataFrame:
    """The rise of the objective at each value of E_max."""
    held = {name: table[table["value"].round(6).isin(found.values)] for name, table in found.scans.items()}
    table = pd.DataFrame({name: one.set_index("value")["rise"] for name, one in held.items()})
    return readable(table.rename(index="{:g}".format).rename_axis("E_max"), "{:.1f}")


def rise_panels(found: Saturation) -> alt.FacetChart:
    """The rise of the objective along E_max."""
    return figures.parameter_profiles(
        pd.concat(found.scans.values()),
        "E_max",
        "These runs bound E_max on both sides" if found.bounded else "E_max stays open on one side or both",
        "Rise of the objective along E_max, for our runs and for made runs with less noise.",
    )


def saturation_numbers(found: Saturation, result: FitResult, assumed: float, quieter: float) -> dict[str, Any]:
    """What E_max our runs and the made ones allow, and what it means."""
    shape = f"That is fewer than the {found.most} experts we trained, so it is no number of experts: it gives a curve "
    return {
        "ex_emax": found.words(),
        "ex_estart": f"{ends_of(result.params)[0]:.2g}",
        "ex_emax_quiet": found.words(1),
        "ex_assumed": f"{assumed:g}",
        "ex_quieter": quieter,
        "ex_most": found.most,
        "ex_meaning": shape + "its shape"
        if found.allowed[1] < found.most
        else f"Anything beyond {found.most} experts is an extrapolation of the form",
    }


def clark_slices(written: Any, eq4: FitResult, runs: pd.DataFrame, starts: int) -> pd.DataFrame:
    """Clark's form at one number of tokens at a time, beside Eq. 4 fitted to all.

    Args:
        written: how a law is to be written, see ``Saturation.written``.
        eq4: the fit to all runs.
        runs: the runs, with ``planned`` tokens.
        starts: of each fit.
    """
    form: Law = written(law("clark2022"))
    slices = {}
    enough = runs.groupby("planned")["d_model"].transform("nunique") >= 3
    for tokens, group in runs[enough].groupby("planned"):
        one = fit(form, group, "lsq-log", starts=starts)
        low, high = profile(one, "c").interval
        error = np.log(eq4.predict(group) / group["loss"])
        slices[f"D = {float(str(tokens)) / 1e6:.1f} M"] = {
            "Clark, error": one.quality.rmse_log,
            "Eq. 4, error": float(np.sqrt(np.mean(error**2))),
            "c": one.params["c"],
            "c low": low,
            "c high": high,
        }
    return pd.DataFrame(slices).T


def slice_numbers(clark: pd.DataFrame) -> dict[str, Any]:
    """In how many slices the interaction is surely positive, and surely negative."""
    return {
        "ex_slices": len(clark),
        "ex_c_up": int((clark["c low"] > 0).sum()),
        "ex_c_down": int((clark["c high"] < 0).sum()),
    }
