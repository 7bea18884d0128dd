"""Laws of routed models whose gain saturates in the number of experts: Clark et al. 2022, Yun et al. 2024."""

from moelaws.laws.coefficients import Published, Variable, amplitude, exponent, scale
from moelaws.laws.dense import D
from moelaws.laws.forms import Law

N_PER_TOKEN = Variable(
    "N", ("dense_params", "active_params"), "parameters of the corresponding dense model; with top-1 routing N_a"
)
E = Variable("E", ("n_experts",), "experts per layer, 1 for a dense model")

SATURATION = "1/(1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max)"
"""Clark et al. 2022: E = 1 gives E_start, E to infinity gives E_max."""

E_START = scale("E_start", 0.5, 20.0, "value of Eh for a dense model")
E_MAX = scale("E_max", 30.0, 3000.0, "limit of Eh for many experts")


def _clark(values: tuple[float, ...], router: str) -> Published:
    letters = ("a", "b", "c", "d", "E_start", "E_max")
    return Published(dict(zip(letters, values, strict=True)), f"Clark et al. 2022, Table 3, {router}", "T2")


CLARK2022 = Law(
    name="clark2022",
    formula="10^(a*log10(N) + b*log10(Eh) + c*log10(N)*log10(Eh) + d)",
    variables=(N_PER_TOKEN, E),
    definitions={"Eh": SATURATION},
    parameters=(
        exponent("a", -0.3, 0.0, "size exponent of a dense-like model"),
        exponent("b", -0.5, 0.0, "expert exponent"),
        exponent("c", -0.05, 0.05, "interaction; positive: routing helps less as N grows"),
        exponent("d", 0.0, 2.0, "log10 of the loss at N = Eh = 1"),
        E_START,
        E_MAX,
    ),
    published={
        "s-base": _clark((-0.082, -0.108, 0.009, 1.104, 1.847, 314.478), "S-BASE"),
        "rl-r": _clark((-0.083, -0.126, 0.012, 1.111, 1.880, 469.982), "RL-R"),
        "hash": _clark((-0.087, -0.136, 0.012, 1.157, 4.175, 477.741), "HASH"),
    },
    source="Clark et al. 2022 (arXiv 2202.01169), law with saturating expert count",
    conventions="logs to base 10; every run at 130B tokens; N counts what one token sees, with top-1 routing",
)

YUN2024 = Law(
    name="yun2024",
    formula="(A/N^alpha + B/Eh^beta + C/D^gamma + F) * exp(d*ln(N)*ln(Eh))",
    variables=(N_PER_TOKEN, D, E),
    definitions={"Eh": SATURATION},
    parameters=(
        amplitude("A", "size term"),
        amplitude("B", "expert term"),
        amplitude("C", "data term"),
        amplitude("F", "irreducible loss before the interaction"),
        exponent("d", -0.02, 0.02, "interaction of size and experts"),
        exponent("alpha", meaning="size exponent"),
        exponent("beta", meaning="expert exponent"),
        exponent("gamma", meaning="data exponent"),
        E_START,
        E_MAX,
    ),
    source="Yun et al. 2024 (arXiv 2404.02852), Eq. 4; the paper prints no fitted coefficients",
    conventions="natural logs (the paper does not say); N is the dense model of the same depth and width; top-2",
)

LAWS = (CLARK2022, YUN2024)
