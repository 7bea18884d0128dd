"""What is done with a fit, each name with the module it comes from; ``moelaws.fitting`` loads from this list."""

from .holdouts import UNCHANGED as UNCHANGED
from .holdouts import forecasts as forecasts
from .intervals.profile import Profile as Profile
from .intervals.profile import profile as profile
from .intervals.uncertainty import Bootstrap as Bootstrap
from .intervals.uncertainty import bootstrap as bootstrap
from .intervals.uncertainty import large_sample as large_sample
from .intervals.uncertainty import likelihood as likelihood
from .splits import Candidate as Candidate
from .splits import candidate as candidate
from .splits import declines as declines
from .splits import ladder as ladder
from .splits import scores as scores
