"""The best models of a law, each name with the module it comes from; ``moelaws.optimum`` loads from this list."""

from .allocation import Allocation as Allocation
from .allocation import Choice as Choice
from .allocation import Estimate as Estimate
from .expert_choice import best_experts as best_experts
from .family import Family as Family
from .family import Memory as Memory
from .family import alternating as alternating
from .family import glu as glu
from .family import proportional as proportional
from .family import switch as switch
from .forecaster import Forecaster as Forecaster
from .known_coefficients import OptimumError as OptimumError
from .optimum import best_size as best_size
from .optimum import best_sparsity as best_sparsity
from .optimum import compute_multiplier as compute_multiplier
from .optimum import least_compute as least_compute
from .optimum import smallest_size as smallest_size
