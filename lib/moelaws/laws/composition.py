"""What a layer is made of, and how compute is shared out: Zhao et al. 2025, Wan et al. 2026."""

from moelaws.laws.coefficients import Parameter, Published, Variable, amplitude, exponent
from moelaws.laws.dense import D
from moelaws.laws.forms import Law

ZHAO2025 = Law(
    name="zhao2025",
    formula="(e*G + f/G + m*S^2 + n*S)*(1/N^alpha + k/N_a^alpha + h*N_a/N) + a/N^alpha + b/D^beta + c/N_a^alpha + eps",
    variables=(
        Variable("N", ("total_params",), "total parameters"),
        Variable("N_a", ("active_params",), "active parameters"),
        D,
        Variable("K", ("top_k",), "experts chosen for a token"),
        Variable("K_s", ("shared_experts",), "experts that all tokens pass through"),
    ),
    definitions={"G": "K + K_s", "S": "K_s/(K + K_s)"},
    parameters=(
        amplitude("e", "what more active experts cost"),
        amplitude("f", "what few active experts cost"),
        amplitude("m", "curvature in the shared share"),
        Parameter("n", False, (-10.0, 0.0), (-1e3, 1e3), "slope in the shared share at none"),
        amplitude("k", "of the composition, by active parameters"),
        amplitude("h", "of the composition, by the active share"),
        amplitude("a", "size term"),
        exponent("alpha", meaning="size exponent, of total and of active parameters"),
        amplitude("b", "data term"),
        exponent("beta", meaning="data exponent"),
        amplitude("c", "active size term"),
        amplitude("eps", "irreducible loss, nats per token"),
    ),
    published={
        "all": Published(
            {"e": 0.1577, "f": 7.2446, "m": 5.1395, "n": -3.2363, "k": 0.0013, "h": 0.0450, "a": 38.051,
             "alpha": 0.2383, "b": 27129.05, "beta": 0.4694, "c": 31.096, "eps": 1.8182},
            "Zhao et al. 2025, as one note gives them",
            "S",
            "second-hand; they reproduce the paper's optima of G, of S and of the active share",
        )
    },
    source="Zhao et al. 2025 (arXiv 2509.23678), comprehensive law",
    conventions="G counts the active experts of a token, shared ones included; S is the share of them that is shared; "
    "whether embeddings are counted is not said",
)  # fmt: skip

WAN2026 = Law(
    name="wan2026",
    formula="1e9*k*(C/1e18)^x",
    variables=(Variable("C", ("train_flops",), "training FLOPs"),),
    parameters=(amplitude("k", "billions of tokens at 1e18 FLOPs"), exponent("x", 0.1, 0.9, "exponent of compute")),
    published={
        "optimal": Published(
            {"k": 22.89, "x": 0.4563},
            "Wan et al. 2026",
            "S",
            "second-hand, and so is the other half, M = 4.37e7 (C / 1e18)^.5437 FLOPs a token; the product is 1.0003 C "
            "if both are counted in billions",
        )
    },
    source="Wan et al. 2026 (arXiv 2603.21862), tokens of the best model of a budget",
    conventions="C in FLOPs here, in EFLOPs in the paper; fitted from 1e18 to 3e20 FLOPs",
    target="tokens",
)

LAWS = (ZHAO2025, WAN2026)
