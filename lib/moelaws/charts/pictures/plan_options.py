"""What a plan's options cost and how low their losses are, law by law."""

import altair as alt
import pandas as pd

from moelaws.charts.losses import LOSS
from moelaws.charts.theme import CATEGORIES

_SHAPES = {"loss-optimal": "circle", "cheapest": "diamond", "best at cost": "square"}


def plan_options(rows: pd.DataFrame, width: int = 480) -> alt.LayerChart | alt.FacetChart:
    """Loss against dollars of training and serving together, with the band of each law.

    Arguments:
        rows: `law`, `kind`, `n_experts`, `loss`, `loss_low`, `loss_high`, `total_dollars`, one row an option.
        width: of the plot, in pixels.
    """
    laws = list(dict.fromkeys(rows["law"]))
    known = rows[rows["total_dollars"].gt(0)].assign(E=lambda table: table["n_experts"].astype(str))
    x = alt.X("total_dollars:Q", title="dollars, to train and to serve").scale(type="log", nice=False, padding=14)
    y = alt.Y("loss:Q", title=LOSS).scale(zero=False, nice=False, padding=12)
    kinds = alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values()))
    colours = alt.Scale(domain=laws, range=[CATEGORIES[i % len(CATEGORIES)] for i in range(len(laws))])
    base = alt.Chart(known).encode(
        x=x.axis(format="~s", tickCount=5),
        color=alt.Color("law:N", title=None, scale=colours, legend=alt.Legend(symbolOpacity=1)),
    )
    reach = base.mark_rule(opacity=0.35).encode(y=alt.Y("loss_low:Q", title=LOSS), y2="loss_high:Q")
    points = base.mark_point(filled=True, size=70).encode(
        y=y, shape=alt.Shape("kind:N", title=None, scale=kinds), tooltip=["law", "kind", "E", "loss", "total_dollars"]
    )
    names = base.mark_text(dy=-10, fontSize=10).encode(y=y, text="E:N")
    return alt.layer(reach, points, names).properties(
        width=width,
        height=320,
        title="Numbers are experts E",
        description=f"{len(known)} options of {len(laws)} laws: their loss against what training and serving cost.",
    )
