"""How the numbers of a page were found, in words that can go into a paper, and whom to cite for it."""

from moelaws.reporting.analyses import Analyses, ReportOptions
from moelaws.reporting.page_parts import Section

_ISOFLOP = (
    "Runs of equal training FLOPs were grouped into budgets. Each budget got a polynomial surface of the loss in ln N"
    " and -ln(1 - S), of the degree that predicts held-out design points best (Abnar et al. 2025, Sec. 2); intervals"
    " are percentiles of {bootstrap} refits with redrawn noise, corrected for few runs, and no number counts as an"
    " optimum that the sizes tried do not bracket."
)
_LAWS = (
    "Laws were fitted by least squares on ln L from many dispersed starts, followed to the least minimum with exact"
    " second derivatives, and fitted again without the runs held out. Intervals are of 95 %, with Student's t and a"
    " covariance that allows for noise that differs between runs (HC3 where runs are many), replicates of a design"
    " point and shared seeds. Several laws together count alike if each misses the runs"
    " fitted by no more than half as much again as the best."
)
_GAIN = (
    "A multiplier compares the best losses of two configurations, each at the bottom of a curve through its own sizes;"
    " between budgets ln L is interpolated monotonically in ln C, beyond the largest it goes on as a power law."
)
_NEXT = (
    "The next runs were chosen one after another, each by how much it lowers the variance of the loss at three times"
    " the dearest run, divided by a power of its FLOPs (1/2, 3/4 or 1, whichever ends lowest), under a law with weak"
    " priors and a Gaussian process of what it misses; the error foretold is that of four such laws together."
)
_NOISE = "Noise is the pooled standard deviation between runs of one design point, with an interval from chi-squared."

_CITED = {
    "hoffmann2022": "Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, arXiv:2203.15556",
    "sardana2024": "Sardana et al. 2024, Beyond Chinchilla-Optimal, arXiv:2401.00448",
    "gadre2024": "Gadre et al. 2024, Language models scale reliably with over-training, arXiv:2403.08540",
    "clark2022": "Clark et al. 2022, Unified Scaling Laws for Routed Language Models, arXiv:2202.01169",
    "yun2024": "Yun et al. 2024, Toward Inference-optimal Mixture-of-Expert Large Language Models, arXiv:2404.02852",
    "krajewski2024": "Krajewski et al. 2024, Scaling Laws for Fine-Grained Mixture of Experts, arXiv:2402.07871",
    "abnar2025": "Abnar et al. 2025, Parameters vs FLOPs: Scaling Laws for Optimal Sparsity for Mixture-of-Experts"
    " Language Models, arXiv:2501.12370",
    "frantar2023": "Frantar et al. 2023, Scaling Laws for Sparsely-Connected Foundation Models, arXiv:2309.08520",
    "ludziejewski2025": "Ludziejewski et al. 2025, Joint MoE Scaling Laws: Mixture of Experts Can Be Memory Efficient,"
    " arXiv:2502.05172",
    "liew2025": "Liew et al. 2025, Scaling Laws for Upcycling Mixture-of-Experts Language Models, arXiv:2502.03009",
}
"""Law -> the paper that it is from."""
_SURFACE = _CITED["abnar2025"]
_SANDWICH = (
    "MacKinnon and White 1985, Some heteroskedasticity-consistent covariance matrix estimators, J. Econometrics 29"
)
_BESIROGLU = "Besiroglu et al. 2024, Chinchilla Scaling: A replication attempt, arXiv:2404.10102"


def methods_section(found: Analyses, options: ReportOptions) -> Section:
    """Methods of the analyses that were made, and their sources."""
    words, sources = [], []
    if found.surfaces is not None:
        words.append(_ISOFLOP.format(bootstrap=options.bootstrap))
        sources.append(_SURFACE)
    if found.comparison is not None:
        words.append(_LAWS)
        sources += [_CITED[each.law.name] for each in found.comparison.contenders if each.law.name in _CITED]
        sources += [_SANDWICH, _BESIROGLU]
    if found.gains:
        words.append(_GAIN)
    if found.following is not None:
        words.append(_NEXT)
    if len(found.spread):
        words.append(_NOISE)
    finding = "These paragraphs may be used as they are."
    return Section("methods", "Methods", finding, words, formulas=[f"{s}." for s in dict.fromkeys(sources)])
