"""The joint law of active parameters, tokens and experts: Ludziejewski et al. 2025."""

from moelaws.laws.coefficients import Published, Variable, amplitude, exponent
from moelaws.laws.dense import D
from moelaws.laws.forms import Law
from moelaws.laws.routed import E_MAX, E_START, SATURATION, E

LUDZIEJEWSKI2025 = Law(
    name="ludziejewski2025",
    formula="a*Eh^delta*N^(alpha + gamma*ln(Eh)) + b*Eh^omega*D^(beta + zeta*ln(Eh)) + c",
    variables=(Variable("N", ("active_params",), "active parameters, embeddings included"), D, E),
    definitions={"Eh": SATURATION},
    parameters=(
        amplitude("a", "size term"),
        exponent("alpha", -1.0, -0.05, "size exponent"),
        exponent("delta", -0.5, 0.5, "experts on the size term"),
        exponent("gamma", -0.05, 0.05, "experts on the size exponent"),
        amplitude("b", "data term"),
        exponent("beta", -1.0, -0.05, "data exponent"),
        exponent("omega", -0.5, 1.0, "experts on the data term"),
        exponent("zeta", -0.05, 0.05, "experts on the data exponent"),
        E_START,
        E_MAX,
        amplitude("c", "irreducible loss, nats per token"),
    ),
    published={
        "table3": Published(
            {"a": 35.91, "alpha": -0.1889, "delta": -0.2285, "gamma": 0.0098, "b": 35.98, "beta": -0.1775,
             "omega": 0.5529, "zeta": -0.0259, "E_start": 2.0732, "E_max": 290.4521, "c": 1.3637},
            "Ludziejewski et al. 2025, Table 3",
            "T",
        )
    },
    source="Ludziejewski et al. 2025 (arXiv 2502.05172), joint law",
    conventions="natural logs; N active, embeddings included; top-1 routing",
)  # fmt: skip

LAWS = (LUDZIEJEWSKI2025,)
