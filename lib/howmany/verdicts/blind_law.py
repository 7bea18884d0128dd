"""A law in which experts do nothing: the placebo of claims that a law is asked about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moelaws.laws import Law
from moelaws.optimum.family import Family, proportional
from moelaws.optimum.forecaster import Forecaster
from moelaws.surfaces.polynomial import Array


@dataclass(frozen=True)
class WithoutExperts(Law):
    """A law in which experts do nothing: the loss of a model is that of the dense model of its family's size.

    Attributes:
        family: which models; what they cost stays as it is.
    """

    family: Family = field(default_factory=proportional)

    def predict(self, params: Mapping[str, Array], table: Any) -> Any:
        """Predict the loss; the table has the family's ``size``."""
        dense = self.family.columns(np.asarray(table["size"], float), 1.0, 1.0)
        return super().predict(params, {**{name: table[name] for name in table}, **dense})


def without_experts(forecaster: Forecaster) -> Forecaster:
    """The same forecaster with experts that do nothing to the loss, and cost what they cost."""
    law = forecaster.law
    parts = {name: getattr(law, name) for name in Law.__dataclass_fields__}
    blind = WithoutExperts(**parts, family=forecaster.family)
    return Forecaster(blind, forecaster.params, forecaster.family, forecaster.replicates, forecaster.budgets)
