"""An explorer of a sparsity law: sliders for budget, size, sparsity and memory; everything is computed in the page."""

from collections.abc import Mapping

import altair as alt

from moelaws.charts.expression import vega_expression
from moelaws.charts.isoflop_curves import BILLIONS
from moelaws.charts.theme import INK, QUIET, expert_colour
from moelaws.laws import Law

SPARSITIES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.98)
"""The sparsities whose curves are always shown, six of the paper's seven."""

_POINTS = 121
_TOKENS = "pow(10, log_c)/(6*datum.N*(1-datum.S))"


def explorer(law: Law, params: Mapping[str, float]) -> alt.VConcatChart:
    """An explorer of a law of N, D and S whose sliders recompute losses and optima in the page, without a server.

    Arguments:
        law: a law of total parameters `N`, tokens `D` and sparsity `S`.
        params: its coefficients.
    """
    sliders = [
        _slider("log_c", 20.0, 18.5, 23.0, 0.1, "budget, log10 C (FLOPs)"),
        _slider("log_n", 9.5, 7.5, 12.0, 0.05, "size, log10 N"),
        _slider("chosen", 0.875, 0.0, 0.99, 0.005, "sparsity S"),
        alt.param(name="top_k", value=1, bind=alt.binding_select(options=[1, 2, 4, 8], name="active experts K ")),
        _slider("memory", 80, 4, 1280, 4, "memory for bf16 weights (GB)"),
    ]
    loss = vega_expression(law, params, {"N": "datum.N", "D": "datum.D", "S": "datum.S"})
    by_size, by_sparsity = _by_size(loss), _by_sparsity(loss)
    return (
        alt.vconcat(by_size, by_sparsity, _readout(loss), spacing=18)
        .add_params(*sliders)
        .properties(
            title="Move the budget, the size and the sparsity",
            description="Sliders for budget, size, sparsity and memory; curves of loss against size at several "
            "sparsities and of loss against sparsity at the chosen size, with their minima, recomputed in the page.",
        )
    )


def _by_size(loss: str) -> alt.Chart | alt.LayerChart | alt.FacetChart:
    """Loss against N at the budget, the paper's sparsities and the chosen one."""
    colours = [expert_colour(1 / (1 - s)) for s in SPARSITIES]
    names = [f"{s:g}" for s in SPARSITIES] + ["chosen"]
    # Every curve has the same points; the last one is the chosen sparsity's.
    points = (
        alt.Chart(alt.sequence(0, len(names) * _POINTS, as_="i"))
        .transform_calculate(
            S=f"datum.i < {len(SPARSITIES) * _POINTS} ? {list(SPARSITIES)}[floor(datum.i/{_POINTS})] : chosen",
            curve=f"{names}[floor(datum.i/{_POINTS})]",
            N=f"pow(10, 7.5 + 5*(datum.i%{_POINTS})/{_POINTS - 1})",
        )
        .transform_calculate(D=_TOKENS)
        .transform_calculate(loss=loss)
    )
    x = alt.X("N:Q", title="total parameters N").scale(type="log", domain=[3e7, 3e12], nice=False)
    x = x.axis(labelExpr=BILLIONS, tickCount=5)
    y = alt.Y("loss:Q", title="loss (nats per token)").scale(domain=[1.8, 3.4], nice=False)
    colour = alt.Color("curve:N", title="S", sort=names).scale(domain=names, range=[*colours, INK])
    lines = points.mark_line(clip=True).encode(x=x, y=y, color=colour)
    lowest = (
        points.transform_joinaggregate(lowest="min(loss)", groupby=["curve"])
        .transform_filter("datum.loss === datum.lowest")
        .mark_point(size=60, clip=True)
        .encode(x=x, y=y, color=colour)
    )
    here = alt.Chart(alt.sequence(0, 1, as_="i")).transform_calculate(N="pow(10, log_n)", limit="memory*1e9/2")
    size = here.mark_rule(strokeDash=[2, 3]).encode(x="N:Q")
    limit = here.mark_rule(color="#cc79a7", strokeWidth=2, clip=True).encode(x="limit:Q")
    return alt.layer(lines, lowest, size, limit).properties(
        width=560, height=280, title="At the budget: dotted, the chosen N; pink, what the memory holds"
    )


def _by_sparsity(loss: str) -> alt.Chart | alt.LayerChart | alt.FacetChart:
    """Loss against 1 / (1 - S) at the budget and the chosen N."""
    points = _sparsities().transform_calculate(D=_TOKENS)
    points = points.transform_calculate(loss=loss)
    x = alt.X("ratio:Q", title="1 / (1 − S), experts per active expert").scale(type="log", base=2, domain=[1, 128])
    y = alt.Y("loss:Q", title="loss (nats per token)").scale(zero=False)
    line = points.mark_line(color=INK).encode(x=x, y=y)
    lowest = points.transform_joinaggregate(lowest="min(loss)").transform_filter("datum.loss === datum.lowest")
    here = alt.Chart(alt.sequence(0, 1, as_="i")).transform_calculate(ratio="1/(1-chosen)")
    return alt.layer(
        line,
        lowest.mark_point(size=80, color=INK).encode(x=x, y=y),
        here.mark_rule(strokeDash=[2, 3]).encode(x="ratio:Q"),
    ).properties(width=560, height=200, title="At the budget and the chosen N: dotted, the chosen S")


def _sparsities() -> alt.Chart:
    """Sparsities from 0 to 1 - 1/128, at the chosen size."""
    return alt.Chart(alt.sequence(0, _POINTS, as_="i")).transform_calculate(
        ratio=f"pow(2, 7*datum.i/{_POINTS - 1})", S=f"1 - pow(2, -7*datum.i/{_POINTS - 1})", N="pow(10, log_n)"
    )


def _readout(loss: str) -> alt.Chart | alt.LayerChart | alt.FacetChart:
    """The numbers behind the sliders, in words."""
    one = alt.Chart(alt.sequence(0, 1, as_="i"))
    chosen = one.transform_calculate(N="pow(10, log_n)", S="chosen").transform_calculate(D=_TOKENS)
    chosen = chosen.transform_calculate(loss=loss)
    # One fact a line, each short enough for a phone.
    texts = (
        (chosen, "'Chosen: ' + format(top_k/(1-datum.S), '.1f') + ' experts, ' + format(top_k, 'd') + ' active'"),
        (chosen, f"'N_a = ' + {_short('datum.N*(1-datum.S)')} + ', D = ' + {_short('datum.D')}" + _LOSS),
        (_lowest(_sizes(), loss), f"'Best N at this S: ' + {_short('datum.N')}" + _LOSS),
        (_lowest(_sparsities(), loss), "'Best S at this N: ' + format(datum.S, '.3f')" + _LOSS),
        (
            _lowest(_fitting(), loss),
            f"'Best in memory: ' + {_short('datum.N')}"
            " + ', S ' + (datum.S > 0.99 ? '≥ ' : '= ') + format(datum.S, '.3f')" + _LOSS,
        ),
    )
    lines = [
        view.transform_calculate(text=text)
        .mark_text(align="left", fontSize=12, color=INK if row < 2 else QUIET)
        .encode(text="text:N", x=alt.value(0), y=alt.value(12 + 20 * row))
        for row, (view, text) in enumerate(texts)
    ]
    return alt.layer(*lines).properties(width=560, height=105)


_LOSS = " + ', loss ' + format(datum.loss, '.3f')"


def _sizes() -> alt.Chart:
    """All sizes shown, at the chosen sparsity."""
    return alt.Chart(alt.sequence(0, _POINTS, as_="i")).transform_calculate(
        N=f"pow(10, 7.5 + 5*datum.i/{_POINTS - 1})", S="chosen"
    )


def _fitting() -> alt.Chart:
    """A grid of sizes up to what the memory holds, and of sparsities."""
    return alt.Chart(alt.sequence(0, 61 * 57, as_="i")).transform_calculate(
        N="memory*1e9/2*pow(10, -4*(datum.i%61)/60)", S="1 - pow(2, -7*floor(datum.i/61)/56)"
    )


def _lowest(points: alt.Chart, loss: str) -> alt.Chart:
    tokens = points.transform_calculate(D=_TOKENS).transform_calculate(loss=loss)
    return tokens.transform_joinaggregate(lowest="min(loss)").transform_filter("datum.loss === datum.lowest")


def _short(expression: str) -> str:
    return f"replace(format({expression}, '.3s'), 'G', 'B')"


def _slider(name: str, value: float, low: float, high: float, step: float, label: str) -> alt.Parameter:
    return alt.param(name=name, value=value, bind=alt.binding_range(min=low, max=high, step=step, name=label + " "))
