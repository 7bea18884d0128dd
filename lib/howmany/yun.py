"""What the claims of Yun et al. 2024 come to under a surrogate law: their problems, solved with what they do not print.

Their fitted coefficients, mu, prompt lengths, prices and latency profiles are in no source. A published law stands in
for the first; named assumptions for the rest, each varied in ``settings``. What a claim comes to is a number under the
central assumptions, with the range over all of them for its interval: what nobody printed, no verdict may hang on.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from howmany.claims import Claim
from howmany.study import budget_label
from howmany.verdict import Finding, Judged, judge
from howmany.verdicts.blind_law import without_experts
from moelaws.optimum.family import Family, alternating, proportional
from moelaws.optimum.forecaster import Allocation, Forecaster, size_of
from moelaws.optimum.known_coefficients import OptimumError
from moelaws.optimum.optimum import best_size, least_compute, smallest_size
from moelaws.serving.bounded import Option, Trade, bounded_cost, option_of
from moelaws.serving.cost import CHAT, deploy
from moelaws.serving.hardware import TYPICAL, accelerator
from moelaws.serving.shape import SHAPE

EXPERTS = (1, 4, 8, 16, 32)
"""The paper's numbers of experts."""


def top_k(n_experts: int) -> int:
    """K: two for a mixture."""
    return 2 if n_experts > 1 else 1


@dataclass
class Optima:
    """A law's optima, remembered: most assumptions about serving leave them as they are."""

    forecaster: Forecaster
    known: dict[tuple[str, float, float, int], Allocation] = field(default_factory=dict)

    def best(self, train_flops: float, n_experts: int) -> Allocation:
        """The loss-optimal model of a budget."""
        return self._once(
            ("best", train_flops, 0, n_experts),
            lambda: best_size(self.forecaster, train_flops, n_experts, top_k(n_experts)),
        )

    def smallest(self, train_flops: float, loss: float, n_experts: int) -> Allocation:
        """The smallest model that reaches a loss within a budget."""
        return self._once(
            ("smallest", train_flops, loss, n_experts),
            lambda: smallest_size(self.forecaster, train_flops, loss, n_experts, top_k(n_experts)),
        )

    def least(self, loss: float, n_experts: int) -> Allocation:
        """The least compute that reaches a loss."""
        return self._once(
            ("least", 0, loss, n_experts), lambda: least_compute(self.forecaster, loss, n_experts, top_k(n_experts))
        )

    def _once(self, key: tuple[str, float, float, int], solve: Callable[[], Allocation]) -> Allocation:
        if key not in self.known:
            self.known[key] = solve()
        return self.known[key]


@dataclass(frozen=True)
class Setting:
    """A law and one set of assumptions.

    Attributes:
        optima: of the law.
        trade: law and deployment.
    """

    optima: Optima
    trade: Trade

    def optimal(self, train_flops: float, n_experts: int) -> Option:
        """The loss-optimal model, with its serving."""
        return option_of(self.trade, self.optima.best(train_flops, n_experts))

    def same_loss(self, train_flops: float, base: int, n_experts: int) -> Option:
        """Algorithm 1: the smallest model with the base's loss at the base's budget."""
        loss = self.optima.best(train_flops, base).loss
        return option_of(self.trade, self.optima.smallest(train_flops, loss, n_experts))

    def same_cost(self, train_flops: float, base: int, n_experts: int) -> Option:
        """Algorithm 2: the lowest loss at the base's budget and serving cost."""
        dollars = self.optimal(train_flops, base).serving.dollars_per_token
        best = self.optimal(train_flops, n_experts)
        return bounded_cost(self.trade, train_flops, dollars, n_experts, top_k(n_experts), best)


def flops_share(s: Setting, flops: float, base: int, e: int) -> float:
    """FLOPs that E experts need for the base's loss, over the base's."""
    return s.optima.least(s.optima.best(flops, base).loss, e).train_flops / flops


def flops_more(s: Setting, flops: float, base: int, e: int) -> float:
    """FLOPs more that the base needs for the loss of E experts, as a share of the budget."""
    return s.optima.least(s.optima.best(flops, e).loss, base).train_flops / flops - 1


def same_loss_cost(s: Setting, flops: float, base: int, e: int) -> float:
    """Serving cost of the over-trained model with the base's loss, over the base's."""
    base_cost = s.optimal(flops, base).serving.dollars_per_token
    return s.same_loss(flops, base, e).serving.dollars_per_token / base_cost


def same_loss_active(s: Setting, flops: float, base: int, e: int) -> float:
    """Active parameters of the over-trained model with the base's loss, over the base's."""
    return s.same_loss(flops, base, e).allocation.active_params / s.optima.best(flops, base).active_params


def same_loss_own_size(s: Setting, flops: float, base: int, e: int) -> float:
    """Size of the over-trained model with the base's loss, over its own loss-optimal size."""
    return s.same_loss(flops, base, e).dense_params / s.optimal(flops, e).dense_params


def same_cost_size(s: Setting, flops: float, base: int, e: int) -> float:
    """Size of the model that is served at the base's cost, over the base's size, both as dense models."""
    return s.same_cost(flops, base, e).dense_params / s.optimal(flops, base).dense_params


def same_cost_own_size(s: Setting, flops: float, base: int, e: int) -> float:
    """Size of the model that is served at the base's cost, over its own loss-optimal size."""
    return s.same_cost(flops, base, e).dense_params / s.optimal(flops, e).dense_params


def same_cost_gain(s: Setting, flops: float, base: int, e: int) -> float:
    """Loss at the base's serving cost and budget, less the base's loss."""
    return s.same_cost(flops, base, e).allocation.loss - s.optima.best(flops, base).loss


def same_cost_flops_saved(s: Setting, flops: float, base: int, e: int) -> float:
    """Training FLOPs saved by E experts that match the base in loss and in serving cost, as a share of the budget."""
    loss = s.optima.best(flops, base).loss
    dollars = s.optimal(flops, base).serving.dollars_per_token
    low, high = np.log(1e-6), 0.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        budget = flops * float(np.exp(middle))
        try:
            best = s.optimal(budget, e)
            reached = bounded_cost(s.trade, budget, dollars, e, top_k(e), best).allocation.loss <= loss
        except OptimumError:
            reached = False
        low, high = (low, middle) if reached else (middle, high)
    return 1 - float(np.exp(high))


def gap_growth(s: Setting, flops: float, base: int, e: int) -> float:
    """Change of ln of the share of FLOPs that E experts need when the budget is four times as large: it falls if the
    gap grows."""
    return float(np.log(flops_share(s, 4 * flops, base, e) / flops_share(s, flops, base, e)))


def dense_optimum(s: Setting, flops: float, base: int, e: int) -> float:
    """Loss-optimal size as a dense model, in billions of parameters."""
    return s.optimal(flops, e).dense_params / 1e9


def best_loss_optimal(s: Setting, flops: float, base: int, e: int) -> float:
    """Experts with the lowest loss among loss-optimal models that are served at the base's cost."""
    dollars = s.optimal(flops, base).serving.dollars_per_token
    budgets = flops * np.geomspace(1 / 16, 8, 15)
    losses = {}
    for count in EXPERTS:
        found = [s.optima.best(float(c), count) for c in budgets]
        sizes = size_of(s.trade.forecaster.family.total_params, [a.total_params for a in found], count, top_k(count))
        costs = np.log(s.trade.serving(sizes, count, top_k(count)).dollars_per_token)
        fits = np.isfinite(costs)
        if fits.sum() > 1 and costs[fits].min() <= np.log(dollars) <= costs[fits].max():
            loss = np.array([a.loss for a in found])
            order = np.argsort(costs[fits])
            losses[count] = float(np.interp(np.log(dollars), costs[fits][order], loss[fits][order]))
    return float(min(losses, key=losses.__getitem__)) if losses else float("nan")


def diminishing(s: Setting, flops: float, base: int, e: int) -> float:
    """Loss gained from 16 to 32 experts over that from 8 to 16, at the base's serving cost; diminishing below one."""
    losses = [s.same_cost(flops, base, count).allocation.loss for count in (8, 16, 32)]
    return (losses[1] - losses[2]) / (losses[0] - losses[1])


QUANTITIES: dict[str, Callable[[Setting, float, int, int], float]] = {
    each.__name__: each
    for each in (
        flops_share, flops_more, same_loss_cost, same_loss_active, same_loss_own_size, same_cost_size,
        same_cost_own_size, same_cost_gain, same_cost_flops_saved, gap_growth, dense_optimum, best_loss_optimal,
        diminishing,
    )
}  # fmt: skip
"""What a claim can be about: name -> function of setting, budget, base experts and experts."""


def settings(forecaster: Forecaster, experts: bool = True) -> dict[str, Setting]:
    """A law under the central assumptions and under each alternative, one changed at a time.

    Args:
        forecaster: a law of sizes, tokens and experts; its family is replaced by the paper's.
        experts: whether experts do anything to the loss; without, it is the law's placebo.

    Returns:
        Name of the assumption -> setting; the first is ``central``.
    """

    def of_family(family: Family) -> Optima:
        own = forecaster.of_family(family)
        return Optima(own if experts else without_experts(own))

    plain, counted, rough = map(of_family, (alternating(), alternating(count_active=True), proportional()))
    device = accelerator("a100-40gb")
    central = Trade(plain.forecaster, deploy(device), SHAPE, expert_share=0.5)

    def elsewhere(**changes: object) -> Trade:
        return replace(central, deployment=deploy(device, **changes))  # type: ignore[arg-type]

    trades = {
        "central": central,
        "arithmetic and memory add up": elsewhere(efficiency=replace(TYPICAL, overlap=0.0)),
        "half the arithmetic": elsewhere(efficiency=replace(TYPICAL, arithmetic=0.3)),
        "half the bandwidth": elsewhere(efficiency=replace(TYPICAL, bandwidth=0.4)),
        "ten times the overheads": elsewhere(
            efficiency=replace(
                TYPICAL, seconds_per_step=2e-2, seconds_per_layer=2e-4, seconds_per_routed_layer=3e-4, link_seconds=1e-4
            )
        ),
        "20 microseconds an expert": elsewhere(efficiency=replace(TYPICAL, seconds_per_expert=2e-5)),
        "prompts four times as long": elsewhere(traffic=replace(CHAT, prompt_tokens=4 * CHAT.prompt_tokens)),
        "answers four times as long": elsewhere(traffic=replace(CHAT, output_tokens=4 * CHAT.output_tokens)),
        "at most 64 requests": elsewhere(max_batch=64),
        "cache half as large": replace(central, shape=replace(SHAPE, mu=SHAPE.mu / 2)),
        "cache twice as large": replace(central, shape=replace(SHAPE, mu=SHAPE.mu * 2)),
        "80 GB": replace(central, deployment=deploy(accelerator("a100-80gb"))),
    }
    found = {name: Setting(plain, trade) for name, trade in trades.items()}
    return found | {
        "two experts' FLOPs counted": Setting(counted, replace(central, forecaster=counted.forecaster)),
        "everything is an expert": Setting(rough, replace(central, forecaster=rough.forecaster, expert_share=1.0)),
    }


def recompute(claim: Claim, setting: Setting) -> np.ndarray:
    """The claim's quantity at each of its budgets and numbers of experts; nan where the law has no answer."""
    function = QUANTITIES[claim.quantity]
    values = []
    for flops in claim.budgets:
        for e in claim.experts:
            try:
                values.append(function(setting, flops, claim.base_experts, e))
            except OptimumError:
                values.append(np.nan)
    return np.array(values)


def findings(claim: Claim, places: Mapping[str, Setting]) -> list[Finding]:
    """What a claim comes to, one finding a budget and number of experts.

    Args:
        claim: with a quantity.
        places: assumptions by name, ``central`` first. Those under which the law has no answer have no say in the
            interval; without an answer under the central ones there is no finding.
    """
    by_assumption = np.array([recompute(claim, setting) for setting in places.values()])
    asked = [(flops, e) for flops in claim.budgets for e in claim.experts]
    found = []
    for (flops, e), values in zip(asked, by_assumption.T, strict=True):
        where = budget_label(flops) + (f", E = {e}" if len(claim.experts) > 1 else "")
        known = values[np.isfinite(values)]
        if np.isfinite(values[0]):
            found.append(Finding(where, float(values[0]), float(known.min()), float(known.max())))
        else:
            found.append(Finding(where, open="the law has no answer"))
    return found


def verdicts(claims: Iterable[Claim], law: str, forecaster: Forecaster) -> list[Judged]:
    """Judge claims by a law, and by the same law with experts that do nothing.

    Args:
        claims: from ``claims.read_claims``. Those without budgets are about runs, and those without a quantity about
            nothing that can be computed: both are not testable by a law.
        law: its name.
        forecaster: the law.
    """
    places, blind = settings(forecaster), settings(forecaster, experts=False)
    judged = []
    for claim in claims:
        if claim.quantity not in QUANTITIES:
            judged.append(Judged(claim, "not testable here", reason=claim.note, by=law))
            continue
        central = {"central": blind["central"]}
        said = judge(claim, findings(claim, places), law)
        judged.append(said.beside([judge(claim, findings(claim, central), law)]))
    return judged
