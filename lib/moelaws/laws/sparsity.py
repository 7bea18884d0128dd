"""Laws of sparsity: of experts (Abnar et al. 2025) and of single weights (Frantar et al. 2023)."""

from moelaws.laws.coefficients import Published, Variable, amplitude, exponent, scale
from moelaws.laws.dense import D
from moelaws.laws.forms import Law

N_TOTAL = Variable("N", ("total_params",), "total parameters")
S = Variable("S", ("sparsity",), "inactive share of the experts, (E - K) / E")

ABNAR2025 = Law(
    name="abnar2025",
    formula="a/N^alpha + b/D^beta + c/(1-S)^lambda + d/((1-S)^delta*N^gamma) + e",
    variables=(N_TOTAL, D, S),
    parameters=(
        amplitude("a", "size term"),
        amplitude("b", "data term"),
        amplitude("c", "sparsity term"),
        amplitude("d", "term of size and sparsity"),
        amplitude("e", "irreducible loss, nats per token; at S = 0 the floor is e + c"),
        exponent("alpha", 0.0, 1.25, "size exponent"),
        exponent("beta", 0.0, 1.25, "data exponent"),
        exponent("lambda", -1.0, 1.0, "sparsity exponent; negative: sparser is better"),
        exponent("delta", -1.0, 1.0, "sparsity exponent of the joint term"),
        exponent("gamma", 0.0, 1.25, "size exponent of the joint term"),
    ),
    published={
        "table3": Published(
            {"a": 16612.50, "b": 5455.67, "c": 0.4598, "d": 17.26, "e": 0.94, "alpha": 0.5962, "beta": 0.3954,
             "lambda": -0.1666, "delta": 0.1603, "gamma": 0.1595},
            "Abnar et al. 2025, Table 3",
            "T2",
            "fitted to the losses of compute-optimal models, runs at S = 0.98 held out",
        )
    },
    source="Abnar et al. 2025 (arXiv 2501.12370), Eq. 6",
    conventions="natural logs; N total; S is the share of experts, not of parameters; C = 6 N_a D",
)  # fmt: skip

FRANTAR2023 = Law(
    name="frantar2023",
    formula="(a_S*(1-S)^b_S + c_S)*N^(-b_N) + (a_D/D)^b_D + c",
    variables=(
        Variable("N", ("nonzero_params", "active_params"), "non-zero parameters"),
        D,
        Variable("S", ("sparsity",), "share of the weights that are zero"),
    ),
    parameters=(
        amplitude("a_S", "size term that sparsity removes"),
        exponent("b_S", 0.1, 2.0, "sparsity exponent"),
        amplitude("c_S", "size term at S = 1"),
        exponent("b_N", meaning="size exponent"),
        scale("a_D", 1e5, 1e12, "tokens at which the data term is one"),
        exponent("b_D", meaning="data exponent"),
        amplitude("c", "irreducible loss"),
    ),
    published={
        "t5-c4": Published(
            {"a_S": 16.8, "b_S": 0.722, "c_S": 45.0, "b_N": 0.245, "a_D": 6.90e8, "b_D": 0.203, "c": 0.651},
            "Frantar et al. 2023, T5 on C4",
            "S",
        )
    },
    source="Frantar et al. 2023 (arXiv 2309.08520)",
    conventions="N non-zero parameters; weight sparsity, for which a mixture's (E - K) / E is only an analogy",
)

LAWS = (ABNAR2025, FRANTAR2023)
