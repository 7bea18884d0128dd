"""Best losses of two configurations at each budget, and the gap between them along the axis of compute."""

import altair as alt
import pandas as pd

from moelaws.charts.losses import LOSS
from moelaws.charts.theme import DENSE, INK, ROUTED


def best_loss_by_budget(
    losses: pd.DataFrame, budget: float, multiplier: float, names: tuple[str, str], width: int = 340
) -> alt.LayerChart | alt.FacetChart:
    """Two falling lines with their intervals, and a rule from one to the other.

    Arguments:
        losses: `budget`, `loss`, `low`, `high`, `configuration`; rows without a loss are left out.
        budget: C of the first configuration.
        multiplier: how many times that the second one needs.
        names: of the two.
        width: of the plot, in pixels.
    """
    known = losses.dropna(subset=["loss"])
    colour = alt.Color("configuration:N", title=None, sort=list(names)).scale(
        domain=list(names), range=[ROUTED[4], DENSE]
    )
    x = (
        alt.X("budget:Q", title="training FLOPs C")
        .scale(type="log", nice=False, padding=45)
        .axis(format="~e", tickCount=4)
    )
    base = alt.Chart(known).encode(x=x, color=colour)
    y = alt.Y("loss:Q", title=f"best {LOSS}").scale(zero=False)
    reach = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=f"best {LOSS}"), y2="high:Q")
    lines, dots = base.mark_line(strokeWidth=1.5).encode(y=y), base.mark_point(filled=True, size=50).encode(y=y)
    there = known[known["configuration"] == names[0]].set_index("budget")["loss"]
    level = float(there.get(budget, there.iloc[(there.index.to_series() / budget - 1).abs().argmin()]))
    gap = pd.DataFrame(
        {
            "budget": [budget],
            "end": [budget * multiplier],
            "right": [budget * max(multiplier, 1)],
            "loss": [level],
            "text": [f"× {multiplier:.2f}"],
        }
    )
    rule = alt.Chart(gap).mark_rule(color=INK, strokeDash=[4, 3]).encode(x="budget:Q", x2="end:Q", y="loss:Q")
    text = alt.Chart(gap).mark_text(color=INK, dx=8, align="left", baseline="middle", fontWeight=600)
    return alt.layer(lines, reach, dots, rule, text.encode(x="right:Q", y="loss:Q", text="text:N")).properties(
        title=[f"{names[0]} is worth {multiplier:.2f} times", f"the FLOPs of {names[1]}"],
        width=width,
        height=240,
        description=f"Best loss of {names[0]} and of {names[1]} at each budget; at {budget:.3g} FLOPs the first is "
        f"worth {multiplier:.2f} times the FLOPs of the second.",
    )
