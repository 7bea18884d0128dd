"""The simplest laws of size and experts: what a richer law must beat; all are nested in Clark et al. 2022."""

from moelaws.laws.coefficients import exponent
from moelaws.laws.forms import Law
from moelaws.laws.routed import E_MAX, E_START, N_PER_TOKEN, SATURATION, E

_A = exponent("a", -0.3, 0.0, "size exponent")
_B = exponent("b", -0.5, 0.0, "expert exponent")
_C = exponent("c", -0.05, 0.05, "interaction")
_D = exponent("d", 0.0, 2.0, "log10 of the loss at N = E = 1")
_SOURCE = "nested in Clark et al. 2022 (arXiv 2202.01169)"

SEPARABLE = Law(
    name="separable",
    formula="10^(a*log10(N) + b*log10(E) + d)",
    variables=(N_PER_TOKEN, E),
    parameters=(_A, _B, _D),
    source=_SOURCE,
    conventions="logs to base 10; a power law in each variable, no interaction, no saturation",
)

BILINEAR = Law(
    name="bilinear",
    formula="10^(a*log10(N) + b*log10(E) + c*log10(N)*log10(E) + d)",
    variables=(N_PER_TOKEN, E),
    parameters=(_A, _B, _C, _D),
    source=_SOURCE,
    conventions="logs to base 10; interaction, no saturation",
)

SATURATING = Law(
    name="saturating",
    formula="10^(a*log10(N) + b*log10(Eh) + d)",
    variables=(N_PER_TOKEN, E),
    definitions={"Eh": SATURATION},
    parameters=(_A, _B, _D, E_START, E_MAX),
    source=_SOURCE,
    conventions="logs to base 10; saturation, no interaction",
)

LAWS = (SEPARABLE, BILINEAR, SATURATING)
