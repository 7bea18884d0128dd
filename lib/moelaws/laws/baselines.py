"""The simplest laws of size and experts: what a richer law must beat.

Three are nested in Clark et al. 2022, whose losses fall to zero; two stand on a floor.
"""

from moelaws.laws.coefficients import amplitude, exponent
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

_AMPLITUDE = amplitude("A", "size and experts")
_FLOOR = amplitude("c", "irreducible loss, at the tokens of these runs")
_SIZE = exponent("alpha", 0.05, 0.5, "size exponent")
_EXPERTS = exponent("beta", 0.0, 0.3, "expert exponent")

FLOORED = Law(
    name="floored",
    formula="c + A/(N^alpha*E^beta)",
    variables=(N_PER_TOKEN, E),
    parameters=(_AMPLITUDE, _SIZE, _EXPERTS, _FLOOR),
    source="a baseline of this library: Kaplan et al. 2020 with a floor, times a power of the experts",
    conventions="natural logs; one power law in size and experts together, above a floor",
)

INTERACTING = Law(
    name="interacting",
    formula="c + A/(N^(alpha + gamma*ln(E))*E^beta)",
    variables=(N_PER_TOKEN, E),
    parameters=(_AMPLITUDE, _SIZE, _EXPERTS, exponent("gamma", -0.02, 0.02, "experts on the size exponent"), _FLOOR),
    source="a baseline of this library: 'floored' with the interaction of Clark et al. 2022",
    conventions="natural logs; negative gamma: experts help less as N grows",
)

LAWS = (SEPARABLE, BILINEAR, SATURATING, FLOORED, INTERACTING)
