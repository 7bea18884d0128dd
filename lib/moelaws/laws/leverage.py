"""Efficiency leverage, the dense model's compute over the mixture's at equal loss: Tian et al. 2025."""

from moelaws.laws.coefficients import Published, Variable, exponent, scale
from moelaws.laws.forms import Law

TIAN2025 = Law(
    name="tian2025",
    formula="Ah^(a + d*log10(C) + gamma*log2(G)^2 + beta*log2(G))",
    variables=(
        Variable("A", ("activation_ratio",), "active share of the experts, shared ones included"),
        Variable("G", ("granularity",), "2 d_model / d_expert"),
        Variable("C", ("train_flops",), "training FLOPs of the mixture"),
    ),
    definitions={"Ah": "1/(1/(A + 1/(1/A_start - 1/A_max)) + 1/A_max)"},
    parameters=(
        exponent("a", 0.5, 2.0, "exponent of the activation ratio at C = 1"),
        exponent("d", -0.15, 0.0, "its change with compute"),
        exponent("gamma", 0.0, 0.05, "granularity, quadratic"),
        exponent("beta", -0.3, 0.0, "granularity, linear"),
        scale("A_start", 1e-3, 0.2, "value of Ah at A = 0"),
        scale("A_max", 1.0, 1e3, "limit of Ah; the published value says: no limit"),
    ),
    published={
        "table2": Published(
            {"a": 1.23, "d": -7.61e-2, "gamma": 1.67e-2, "beta": -1.17e-1, "A_start": 1.63e-2, "A_max": 5.28e16},
            "Tian et al. 2025, Table 2",
            "T",
            "the printed law does not state its log bases; these reproduce both of the paper's statements",
        )
    },
    source="Tian et al. 2025 (arXiv 2507.17702), efficiency leverage EL(A, G, C)",
    conventions="log2 of G and log10 of C; granularity is 2 d_model / d_expert, not the dense width over the expert's",
    target="leverage",
)

LAWS = (TIAN2025,)
