"""What surfaces, laws and their optima say, and what they leave open."""

import numpy as np
import pandas as pd

from moelaws.charts.fits import observed_against_predicted
from moelaws.charts.pictures.budget_cuts import budget_cut, optima_over_budgets
from moelaws.charts.pictures.contests import errors_by_law
from moelaws.charts.pictures.design import NAMES
from moelaws.charts.pictures.multiplier import best_loss_by_budget
from moelaws.comparing.comparison import Comparison
from moelaws.comparing.comparison_text import average_lines, held_out_lines, r2_text, refused_lines, shown_comparison
from moelaws.fitting.result import FitResult
from moelaws.quote import number_of
from moelaws.reporting.analyses import Analyses, interval, number, open_parameters
from moelaws.reporting.page_parts import Figure, Section, Table, figure
from moelaws.surfaces.report.optima_table import rows_of
from moelaws.surfaces.standing import FOUND, words

_MOST_CUTS = 6
_SIZES = {"active_params": "N_a", "total_params": "N"}


def surface_section(found: Analyses) -> Section:
    """The loss surface of each budget and the best size at every sparsity."""
    title = "Loss at equal compute"
    if found.surfaces is None:
        return Section("surfaces", title, f"No isoFLOP analysis: {found.why['surfaces']}.")
    if not found.budgets and len(found.surfaces.budgets) > 1:
        return Section("surfaces", title, "No isoFLOP analysis: most runs share their FLOPs with too few others.", [
            "A curve takes three sizes at equal compute; what would lie on one here does so by chance. The laws below"
            " need no budgets."
        ])  # fmt: skip
    optima = found.surfaces.optima
    known = optima[optima["status"].isin(FOUND)] if "n" in optima.columns else optima.iloc[:0]
    size = _SIZES.get(found.surfaces.variable, found.surfaces.variable)
    # Runs without two others of another size at their budget and sparsity say nothing of a best size.
    few = optima["status"].eq("few sizes")
    if few.all():
        finding = "No budget has three sizes at one sparsity, so none shows its best size."
    elif known.empty:
        finding = "No budget has a best size: the table below says why."
    else:
        best = rows_of(known[known["budget"] == known["budget"].max()].nsmallest(1, "loss"))[0]
        # Losses may be lower still at a sparsity whose best size lies beyond those tried.
        there = optima["budget"].eq(best["budget"]) & ~few & ~optima["status"].isin(FOUND)
        what = "the lowest loss at a size between those tried" if there.any() else "the lowest loss"
        finding = (
            f"At {best['budget']:.3g} FLOPs {what} is"
            f" {_with_ends(best['loss'], best['loss_low'], best['loss_high'], '.3f')}, at"
            f" S = {best['sparsity']:.4g} and {size} = {_with_ends(best['n'], best['n_low'], best['n_high'], '.3g')}."
        )
    shown = pd.DataFrame(
        [
            (
                f"{row['budget']:.3g}", f"{row['sparsity']:.4g}", str(row["runs"]),
                number(row.get("n", np.nan), ".3g"),
                interval(row.get("n_low", np.nan), row.get("n_high", np.nan), ".3g"),
                number(row.get("loss", np.nan), ".4f"),
                interval(row.get("loss_low", np.nan), row.get("loss_high", np.nan), ".4f"),
                words(row["status"], row["smallest"], row["largest"], row["sizes"]),
            )
            for row in rows_of(optima[~few])
        ],
        columns=["C", "S", "runs", f"best {size}", "95 %", "loss", "95 % ", ""],
    )  # fmt: skip
    # Where nothing was found there are no numbers to show.
    shown = shown[[name for name in shown.columns if shown[name].ne("").any()]]
    drawn = list(found.surfaces.surfaces.values())[-_MOST_CUTS:]
    figures = [figure(budget_cut(each), "", f"cut{i}") for i, each in enumerate(drawn)]
    if known["budget"].nunique() > 1:
        figures.append(
            figure(optima_over_budgets(known, "n", f"best {size}", True), f"Best {size} at each budget.", "sizes")
        )
        figures.append(
            figure(optima_over_budgets(known, "loss", "best loss (nats per token)", False), "Its loss.", "losses")
        )
    lost = found.surfaces.unfinished
    said = [f"{number_of(lost, 'run')} did not finish, left out."] if lost else []
    if few.any():
        said.append(
            f"{number_of(int(optima.loc[few, 'runs'].sum()), 'run')} at a budget and sparsity with fewer than three"
            " sizes: too few to show which is best."
        )
    tables = [Table.of(shown, "Best size at every budget and sparsity")] if len(shown) else []
    return Section("surfaces", title, finding, said, tables, _there(figures))


def gain_section(found: Analyses) -> Section:
    """What experts are worth in compute."""
    title = "What experts are worth"
    if not found.gains:
        return Section("gains", title, f"No multiplier: {found.why.get('gains', 'nothing to compare')}.")
    gain = found.gains[0]
    said = str(gain).split("\n")
    names = (gain.of, gain.over)
    chart = best_loss_by_budget(gain.losses, gain.budget, gain.flops.value, names, width=300)
    drawn = figure(chart, "Best losses of both; the dashed line is the multiplier.", "gain")
    return Section("gains", title, f"{said[0]}.", [f"{line}." for line in said[1:]], (), _there([drawn]))


def laws_section(found: Analyses) -> Section:
    """Laws compared, and the fit of the best of them."""
    title = "Laws compared"
    if found.comparison is None:
        return Section("laws", title, f"No law could be compared: {found.why['laws']}.")
    contest = found.comparison
    first = contest.contenders[0]
    if contest.unseen:
        split = contest.unseen[0]
        row = contest.table.iloc[0]
        finding = (
            f"{_best_of(contest, 'foresees best what was held out')} ({split.words}): it"
            f" misses by {100 * row[f'{split.name}_rmse_log']:.2f} %, R2 {r2_text(row[f'{split.name}_r2'])}, and"
            f" {100 * row[f'{split.name}_coverage']:.0f} % of these runs lie inside its 95 % intervals."
        )
    else:
        finding = f"{_best_of(contest, 'has the lowest AICc')}; nothing was held out."
    shown = shown_comparison(contest)
    figures = [figure(errors_by_law(contest.table, [each.name for each in contest.unseen], 240),
                      "What each law misses, in the fit and where it had not seen the runs.", "laws")]  # fmt: skip
    fit = observed_against_predicted(first.result.residuals(), first.law.target, first.law.name, width=300)
    figures.append(figure(fit, f"Observed against predicted by {first.law.name}, and what is left over.", "fit"))
    said = [f"{line}." for line in (*held_out_lines(contest)[1:], *average_lines(contest), *refused_lines(contest))]
    letters = first.law.columns(contest.runs)
    read = ", ".join(f"{letter}: {_words_of(column)}" for letter, column in letters.items())
    tables = [Table.of(shown, "Errors are of ln L; 'AICc +' is above the least"), _coefficients(first.result)]
    return Section("laws", title, finding, said, tables, _there(figures), [f"{read}."],
                   [(first.law.name, first.law.mathml())])  # fmt: skip


def _best_of(contest: Comparison, does: str) -> str:
    """What the best law does; one law alone is no contest."""
    name, count = contest.contenders[0].law.name, len(contest.contenders)
    return f"Of {count} laws {name} {does}" if count > 1 else f"{name} was the one law asked"


def _words_of(column: str) -> str:
    """What a column holds, without the letter that it has elsewhere: a law has letters of its own."""
    words, _, letter = NAMES.get(column, column).rpartition(" ")
    return words if words and len(letter) <= 3 else NAMES.get(column, column)


def _coefficients(result: FitResult) -> Table:
    """The law's coefficients, as all runs have them."""
    rows = [
        (typed, number(row["value"], ".5g"), interval(row["low"], row["high"]), str(row["note"]).replace("  ", ", "))
        for typed, row in ((str(name), row) for name, row in result.summary().table.iterrows())
    ]
    shown = pd.DataFrame(rows, columns=["", "value", "95 %", " "])
    return Table.of(shown, f"Coefficients of {result.law.name}, fitted to all {result.n_runs} runs")


def optimum_section(found: Analyses) -> Section:
    """The best model under a budget, as the law that foresees best and can choose has it."""
    title = "The best model under a budget"
    if not found.optima or found.law is None:
        return Section("optimum", title, f"No forecast: {found.why.get('optima', 'no law can choose')}.")
    rows = [
        (
            f"{each.train_flops:.3g}", f"{each.n_experts:g}", f"{each.total_params:.3g}", f"{each.active_params:.3g}",
            interval(*each.intervals.get("active_params", (np.nan, np.nan)), ".2g"), f"{each.tokens:.3g}",
            f"{each.loss:.4f}", interval(*each.intervals.get("loss", (np.nan, np.nan)), ".3f"), _edge(each),
        )
        for each in found.optima
    ]  # fmt: skip
    heads = ["C", "E", "N", "N_a", "95 %", "D", "loss", "95 % ", ""]
    last = found.optima[0]
    finding = (
        f"{found.law.law.name} has its lowest loss at {last.train_flops:.3g} FLOPs with E = {last.n_experts:g}, N_a ="
        f" {last.active_params:.3g} and {last.tokens:.3g} tokens: {last.loss:.3f}"
        + (f" ({interval(*last.intervals['loss'], '.3f')})." if "loss" in last.intervals else ", without a band.")
    )
    said = [
        "Sizes, FLOPs and numbers of experts are those of the models in the table; the bands hold the doubt about the"
        " law's coefficients and none about its form. Budgets beyond the first row are extrapolations.",
    ]
    return Section("optimum", title, finding, said, [Table.of(pd.DataFrame(rows, columns=heads))])


def open_section(found: Analyses) -> Section:
    """What the runs do not pin down."""
    title = "What is not identified"
    if found.comparison is None:
        return Section("open", title, "Without a law there is nothing to identify.")
    rows, said = [], []
    for each in found.comparison.contenders:
        names = open_parameters(each.result)
        rows.append(
            (each.law.name, each.result.status, f"{len(names)} of {each.parameters}", ", ".join(names) or "none")
        )
        if each.result.origin.design:
            said.append(f"{each.result.origin.design}.")
    loose = [row[0] for row in rows if row[3] != "none"]
    finding = (
        "The runs pin down every parameter of every law that was fitted."
        if not loose
        else f"The runs leave parameters open in {len(loose)} of {len(rows)} laws: their predictions near the runs may"
        " still be sharp, their coefficients and what they say far beyond the runs are not."
    )
    shown = pd.DataFrame(rows, columns=["law", "status", "open", "parameters that stay open"])
    return Section("open", title, finding, said, [Table.of(shown)])


def _edge(each: object) -> str:
    edge, experts = getattr(each, "edge", ""), getattr(each, "experts_edge", "")
    said = [f"size at the {edge} limit"] if edge else []
    if experts:
        said.append(f"E at the {'largest' if experts == 'high' else 'smallest'} tried")
    return ", ".join(said)


def _with_ends(value: float, low: object, high: object, form: str) -> str:
    ends = interval(low, high, form)
    return f"{value:{form}} ({ends})" if ends else f"{value:{form}} (no interval)"


def _there(figures: list[Figure | None]) -> list[Figure]:
    return [each for each in figures if each is not None]
