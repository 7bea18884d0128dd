"""Laws of a mixture grown from a trained dense model: Liew, Kato and Takase 2025."""

from moelaws.laws.coefficients import Published, Variable, amplitude, exponent
from moelaws.laws.dense import D
from moelaws.laws.forms import Law

N1 = Variable("N", ("dense_params", "active_params"), "parameters of the dense model, for the mixture too")
_NOTE = "the three fits share E = 0.165; coefficients from a secondary source"

LIEW2025 = Law(
    name="liew2025",
    formula="A*D1^(-alpha1)*D2^(-alpha2 + alpha3*ln(D1)) + B*N^(-beta) + E",
    variables=(
        Variable("D1", ("dense_tokens",), "tokens of the dense model before upcycling"),
        Variable("D2", ("tokens",), "tokens of the mixture after upcycling"),
        N1,
    ),
    parameters=(
        amplitude("A", "data term"),
        exponent("alpha1", 0.0, 0.3, "exponent of the dense tokens"),
        exponent("alpha2", 0.0, 0.3, "exponent of the upcycled tokens"),
        exponent("alpha3", -0.005, 0.005, "interaction; positive: more dense tokens, less gain from upcycled ones"),
        amplitude("B", "size term"),
        exponent("beta", meaning="size exponent"),
        amplitude("E", "irreducible loss, nats per token"),
    ),
    published={
        "upcycled": Published(
            {"A": 16.3, "alpha1": 0.043, "alpha2": 0.085, "alpha3": 7.98e-4, "B": 8.53, "beta": 0.112, "E": 0.165},
            "Liew et al. 2025, Table 2, upcycled",
            "S",
            _NOTE + "; the form is from memory and unverified [M]",
        )
    },
    source="Liew et al. 2025 (arXiv 2502.03009); form from memory, unverified [M]",
    conventions="natural logs; N is the dense model's size",
)

LIEW2025_SCRATCH = Law(
    name="liew2025_scratch",
    formula="A*D^(-alpha) + B*N^(-beta) + E",
    variables=(D, N1),
    parameters=(
        amplitude("A", "data term"),
        exponent("alpha", meaning="data exponent"),
        amplitude("B", "size term"),
        exponent("beta", meaning="size exponent"),
        amplitude("E", "irreducible loss, nats per token"),
    ),
    published={
        "dense": Published(
            {"A": 8.83, "alpha": 0.088, "B": 12.3, "beta": 0.116, "E": 0.165}, "Liew et al. 2025, Table 2, dense",
            "S", _NOTE),
        "moe": Published(
            {"A": 32.0, "alpha": 0.161, "B": 7.05, "beta": 0.080, "E": 0.165}, "Liew et al. 2025, Table 2, MoE",
            "S", _NOTE),
    },
    source="Liew et al. 2025 (arXiv 2502.03009), models trained from scratch; A and alpha belong to the data",
    conventions="natural logs; letters as in the upcycling law, so A is the data term, unlike Hoffmann's",
)  # fmt: skip

LAWS = (LIEW2025, LIEW2025_SCRATCH)
