"""The law of expert granularity: Krajewski et al. 2024."""

from moelaws.laws.coefficients import Published, Variable, amplitude, exponent
from moelaws.laws.dense import D
from moelaws.laws.forms import Law

N_TOTAL = Variable("N", ("non_embedding_params", "total_params"), "total parameters without embeddings")
G = Variable("G", ("granularity",), "dense hidden width over expert hidden width")

KRAJEWSKI2024 = Law(
    name="krajewski2024",
    formula="c + (g/G^gamma + a)/N^alpha + b/D^beta",
    variables=(N_TOTAL, D, G),
    parameters=(
        amplitude("a", "size term at infinite granularity"),
        exponent("alpha", meaning="size exponent"),
        amplitude("b", "data term"),
        exponent("beta", meaning="data exponent"),
        amplitude("g", "what coarse experts add to the size term"),
        exponent("gamma", 0.1, 1.5, "granularity exponent"),
        amplitude("c", "irreducible loss, nats per token"),
    ),
    published={
        "moe": Published(
            {"a": 18.1, "alpha": 0.115, "b": 30.8, "beta": 0.147, "g": 2.1, "gamma": 0.58, "c": 0.47},
            "Krajewski et al. 2024, MoE",
            "T2",
            "expansion rate 64; the dense baseline is hoffmann2022's set 'krajewski2024-dense'",
        )
    },
    source="Krajewski et al. 2024 (arXiv 2402.07871)",
    conventions="N total, without embeddings, at a fixed expansion rate of 64; granularity 1 to 16",
)

LAWS = (KRAJEWSKI2024,)
