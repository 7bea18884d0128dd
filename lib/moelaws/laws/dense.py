"""Laws of dense models: size and data (Hoffmann et al. 2022), and their use beyond the compute optimum."""

from moelaws.laws.coefficients import Parameter, Published, Tag, Variable, amplitude, exponent
from moelaws.laws.forms import Law

N_DENSE = Variable("N", ("active_params", "total_params"), "parameters; of a dense model active and total are the same")
D = Variable("D", ("tokens",), "training tokens")

_PARAMETERS: tuple[Parameter, ...] = (
    amplitude("A", "size term"),
    amplitude("B", "data term"),
    amplitude("E", "irreducible loss, nats per token"),
    exponent("alpha", meaning="size exponent"),
    exponent("beta", meaning="data exponent"),
)


def _set(values: tuple[float, float, float, float, float], source: str, tag: Tag, note: str = "") -> Published:
    return Published(dict(zip(["A", "B", "E", "alpha", "beta"], values, strict=True)), source, tag, note)


HOFFMANN2022 = Law(
    name="hoffmann2022",
    formula="E + A/N^alpha + B/D^beta",
    variables=(N_DENSE, D),
    parameters=_PARAMETERS,
    published={
        "approach3": _set((406.4, 410.7, 1.69, 0.34, 0.28), "Hoffmann et al. 2022, approach 3", "T2"),
        "tex": _set(
            (406.4, 410.7, 1.6934, 0.3392, 0.2849),
            "Hoffmann et al. 2022, source files, as quoted by Besiroglu et al. 2024",
            "T2",
            "more digits than the paper prints; A and B as printed",
        ),
        "besiroglu2024": _set(
            (482.01, 2085.43, 1.8172, 0.3478, 0.3658),
            "Besiroglu et al. 2024, refit of 240 runs digitised from Hoffmann et al., Fig. 4",
            "T2",
            "standard errors: A 124.6, B 1293, E 0.03, alpha 0.02, beta 0.02",
        ),
        "krajewski2024-dense": _set(
            (16.3, 26.7, 0.47, 0.126, 0.127),
            "Krajewski et al. 2024, dense baseline",
            "T2",
            "N without embeddings; the paper's a, b, c are A, B, E here",
        ),
    },
    source="Hoffmann et al. 2022 (arXiv 2203.15556), approach 3",
    conventions="natural logs; N with embeddings",
)

SARDANA2024 = Law(
    name="sardana2024",
    formula="E + A/N^alpha + B/D^beta",
    variables=(N_DENSE, D),
    parameters=_PARAMETERS,
    published={
        "up-to-100": _set((7.199, 25.97, 0.17, 0.08, 0.13), "Sardana et al. 2024", "S", "runs with D/N <= 100"),
        "up-to-250": _set((14.23, 39.54, 0.98, 0.13, 0.16), "Sardana et al. 2024", "S", "runs with D/N <= 250"),
        "up-to-500": _set((17.07, 35.80, 0.95, 0.13, 0.16), "Sardana et al. 2024", "S", "runs with D/N <= 500"),
        "all": _set((33.66, 138.9, 1.45, 0.18, 0.24), "Sardana et al. 2024", "S", "all 47 runs, D/N up to 10,000"),
    },
    source="Sardana et al. 2024 (arXiv 2401.00448): Hoffmann's form, refitted by the largest D/N",
    conventions="natural logs; for compute-optimal use under inference demand, minimise 6 N D + 2 N D_inference",
)

GADRE2024 = Law(
    name="gadre2024",
    formula="E + (a*M^eta + b*M^(-eta))*C^(-eta)",
    variables=(N_DENSE, D),
    definitions={"M": "D/N", "C": "6*N*D"},
    parameters=(
        amplitude("a", "weight of the size term"),
        amplitude("b", "weight of the data term"),
        amplitude("E", "irreducible loss, nats per token"),
        exponent("eta", 0.03, 0.5, "compute exponent; half of Hoffmann's alpha = beta"),
    ),
    published={
        "c4": Published(
            {"a": 141.0, "b": 190.0, "E": 1.51, "eta": 0.121},
            "Gadre et al. 2024, fit on C4 runs",
            "S",
            "the fits on RedPajama and RefinedWeb are not transcribed here",
        )
    },
    source="Gadre et al. 2024 (arXiv 2403.08540), loss from compute and tokens per parameter",
    conventions="M = D/N tokens per parameter, C = 6 N D",
)

LAWS = (HOFFMANN2022, SARDANA2024, GADRE2024)
