"""What is asked of runs that nobody has made: a loss, the best number of experts, a gain, an exponent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.choosing.candidates import Models
from moelaws.fitting.objective import FitError
from moelaws.quote import shown

KINDS: Mapping[str, tuple[set[str], set[str]]] = {
    "loss": ({"budget"}, set()),
    "best": ({"budget"}, set()),
    "gain": ({"budget", "n_experts"}, {"over"}),
    "exponent": ({"budget"}, {"n_experts"}),
}
"""Of what -> what a question must say, and may say beside that. A loss may also be asked at a point: of any columns."""
_AROUND = (0.5, 0.7, 1.0, 1.4, 2.0)
"""Times the best size, about, at which a loss is asked: its optimum is not known to the last digit."""
_STEP = 2**0.5
_GRID, _WIDER = 33, 3.0

Losses = Callable[[pd.DataFrame], np.ndarray]
"""Expected ln L of runs."""


@dataclass(frozen=True)
class Question:
    """A question as it was put.

    Attributes:
        kind: a key of ``KINDS``.
        at: names and numbers.
    """

    kind: str
    at: Mapping[str, float]

    @classmethod
    def of(cls, text: str) -> "Question":
        """Read ``[loss|best|gain|exponent:] NAME=NUMBER,...``.

        Raises:
            FitError: what cannot be read, or lacks something.

        Examples:
            >>> Question.of("gain: budget=1e21, n_experts=64")
            Question(kind='gain', at={'budget': 1e+21, 'n_experts': 64.0})
        """
        kind, colon, rest = text.partition(":")
        kind, rest = (kind.strip(), rest) if colon else ("loss", text)
        if kind not in KINDS:
            raise FitError(f"ask: found {shown(kind)}, expected one of {', '.join(KINDS)} before the colon")
        at: dict[str, float] = {}
        for part in rest.split(","):
            name, equals, value = (each.strip() for each in part.partition("="))
            try:
                number = float(value) if equals else float("nan")
            except ValueError:
                number = float("nan")
            if not name or not 0 < number < np.inf:
                raise FitError(f"ask: found {shown(part)}, expected NAME=NUMBER with a number > 0, as in budget=1e21")
            if name in at:
                raise FitError(f"ask: {shown(name)} stands there twice")
            at[name] = number
        needed, more = KINDS[kind]
        if kind == "loss" and "budget" not in at:
            return cls(kind, at)
        if missing := needed - set(at):
            raise FitError(f"ask: {kind} needs {' and '.join(sorted(missing))}, as in budget=1e21")
        if unknown := set(at) - needed - more:
            raise FitError(f"ask: {kind} knows no {shown(min(unknown))}; it takes {', '.join(sorted(needed | more))}")
        return cls(kind, at)

    @property
    def flops(self) -> float | None:
        """FLOPs of what is asked; ``None`` where only a point says them."""
        return self.at.get("budget", self.at.get("train_flops"))


@dataclass(frozen=True, eq=False)
class Asked:
    """A question as sums of ln L over places.

    Attributes:
        words: what is asked, for a reader.
        points: the places, in the columns of a run table.
        rows: how each sum weighs them, [q, places].
        names: of the sums that an answer tells; of the others none.
        losses: whether the sums are of losses (else of differences, in ln L, or of slopes).
    """

    words: str
    points: pd.DataFrame
    rows: np.ndarray
    names: tuple[str, ...]
    losses: bool


def asked_of(question: Question, models: Models, losses: Losses) -> Asked:
    """Where a question looks, as far as the runs held tell where optima are.

    Args:
        question: as it was put.
        models: what can be trained.
        losses: what is expected now.
    """
    if question.kind == "loss" and "budget" not in question.at:
        return _at_a_point(question, models)
    budget = question.at["budget"]
    if question.kind == "loss":
        parts = [_near_best(models, budget, e, losses, _AROUND) for e in models.experts]
        points = pd.concat(parts, ignore_index=True)
        names = tuple(f"E = {e:g}" if times == 1 else "" for e in models.experts for times in _AROUND)
        return Asked(f"the loss at {budget:.3g} FLOPs", points, np.eye(len(points)), names, True)
    if question.kind == "best":
        return _best_experts(models, budget, losses)
    if question.kind == "gain":
        return _gain(question, models, losses)
    return _exponent(question, models, losses)


def _at_a_point(question: Question, models: Models) -> Asked:
    point = pd.DataFrame([dict(question.at)])
    if "n_experts" not in point.columns and models.experts == (1.0,):
        point["n_experts"] = 1.0
    said = ", ".join(f"{name} = {value:.4g}" for name, value in question.at.items())
    return Asked(f"the loss at {said}", point, np.eye(1), ("the loss",), True)


def _best(models: Models, budget: float, experts: float, losses: Losses) -> float:
    """Tokens an active parameter of the lowest expected loss."""
    ratios = models.ratios(_GRID, _WIDER)
    return float(ratios[np.argmin(losses(models.at(budget, experts, models.sizes(budget, experts, ratios))))])


def _near_best(models: Models, budget: float, experts: float, losses: Losses, times: tuple[float, ...]) -> pd.DataFrame:
    # At equal FLOPs twice the size leaves half the tokens: a quarter for a parameter.
    ratios = _best(models, budget, experts, losses) / np.square(times)
    return models.at(budget, experts, models.sizes(budget, experts, ratios))


def _optima(models: Models, budget: float, experts: tuple[float, ...], losses: Losses) -> pd.DataFrame:
    parts = [_near_best(models, budget, e, losses, (1.0,)) for e in experts]
    return pd.concat(parts, ignore_index=True)


def _best_experts(models: Models, budget: float, losses: Losses) -> Asked:
    if len(models.experts) < 2:
        raise FitError("ask: best is about numbers of experts, and there is one")
    points = _optima(models, budget, models.experts, losses)
    first = int(np.argmin(losses(points)))
    rows = np.eye(len(points)) - np.eye(len(points))[first]
    others = [i for i in range(len(points)) if i != first]
    names = tuple(f"E = {models.experts[i]:g} over E = {models.experts[first]:g}" for i in others)
    return Asked(f"the best number of experts at {budget:.3g} FLOPs", points, rows[others], names, False)


def _gain(question: Question, models: Models, losses: Losses) -> Asked:
    budget, many, few = question.at["budget"], question.at["n_experts"], question.at.get("over", 1.0)
    if many == few:
        raise FitError(f"ask: gain of {many:g} experts over as many")
    points = _optima(models, budget, (many, few), losses)
    words = f"the gain from {few:g} to {many:g} experts at {budget:.3g} FLOPs"
    return Asked(words, points, np.array([[-1.0, 1.0]]), ("the gain in ln L",), False)


def _exponent(question: Question, models: Models, losses: Losses) -> Asked:
    budget = question.at["budget"]
    if "n_experts" in question.at:
        experts = question.at["n_experts"]
    else:
        optima = _optima(models, budget, models.experts, losses)
        experts = models.experts[int(np.argmin(losses(optima)))]
    points = pd.concat(
        [_optima(models, budget * step, (experts,), losses) for step in (1 / _STEP, _STEP)], ignore_index=True
    )
    words = f"the exponent of the loss with FLOPs at {budget:.3g}, E = {experts:g}"
    return Asked(words, points, np.array([[1.0, -1.0]]) / np.log(2), ("-d ln L / d ln C",), False)
