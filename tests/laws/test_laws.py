"""Laws: the published numbers, exact derivatives, inverse use, and a reader's own law."""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

import moelaws.laws
from moelaws.formulas.parsing import parse
from moelaws.laws import LAWS, FormulaError, Law, LawError, law, law_from_formula
from published_runs import truth
from recomputed_optima import ABNAR_MULTIPLIERS, ABNAR_SIXTEEN_TO_FOUR, ABNAR_SIZES, ABNAR_SPARSITIES, JOINT_SIZES

ABNAR = law("abnar2025")
TABLE3 = ABNAR.published["table3"]
JOINT = law("ludziejewski2025")

# One run in the range of every paper, by column.
RUN = {
    "active_params": 4e8, "total_params": 2.1e9, "non_embedding_params": 2e9, "dense_params": 3.9e8,
    "nonzero_params": 3e8, "tokens": 3e10, "dense_tokens": 1e10, "n_experts": 16.0, "granularity": 4.0,
    "sparsity": 0.9, "activation_ratio": 0.1, "train_flops": 7.2e19, "top_k": 3.0, "shared_experts": 1.0,
}  # fmt: skip

YUN = {"A": 120.0, "B": 0.6, "C": 400.0, "F": 1.2, "d": -0.0006, "alpha": 0.3, "beta": 0.4, "gamma": 0.28,
       "E_start": 1.9, "E_max": 300.0}  # fmt: skip
CASES = [(name, key) for name, each in LAWS.items() for key in each.published]


def params_of(name):
    """Published coefficients where there are any, otherwise plausible ones."""
    each = LAWS[name]
    if each.published:
        return dict(next(iter(each.published.values())))
    if name == "yun2024":
        return YUN
    return truth(name)


def abnar_loss(size, budget, sparsity):
    """Eq. 6 on the budget line D = C / (6 N (1 - S))."""
    run = {"total_params": size, "tokens": budget / (6 * size * (1 - sparsity)), "sparsity": sparsity}
    return ABNAR.predict(TABLE3, run)


def abnar_optimum(budget, sparsity):
    """(N*, L*) at a budget and a sparsity."""
    best = minimize_scalar(
        lambda x: float(abnar_loss(np.exp(x), budget, sparsity)), bounds=(16, 30), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    return float(np.exp(best.x)), float(best.fun)


def best_sparsity(size, budget):
    grid = np.linspace(0, 0.9995, 20_000)
    return grid[np.argmin(abnar_loss(size, budget, grid))]


def test_abnar_point_and_floor():
    run = {"total_params": 18.8e9, "tokens": 110.2e9, "sparsity": 0.98}
    assert ABNAR.predict(TABLE3, run) == pytest.approx(2.16934, abs=5e-6)
    limit = {"total_params": 1e60, "tokens": 1e60, "sparsity": 0.0}
    assert ABNAR.predict(TABLE3, limit) == pytest.approx(1.3998, abs=1e-4)


@pytest.mark.parametrize(("budget", "sparsity", "size", "active", "tokens", "loss", "ratio"), ABNAR_SIZES)
def test_abnar_optimal_size(budget, sparsity, size, active, tokens, loss, ratio):
    best, at_best = abnar_optimum(budget, sparsity)
    data = budget / (6 * best * (1 - sparsity))
    assert best / 1e9 == pytest.approx(size, rel=1.5e-3)
    assert best * (1 - sparsity) / 1e9 == pytest.approx(active, abs=5.1e-4)
    assert data / 1e9 == pytest.approx(tokens, rel=4e-3)
    assert at_best == pytest.approx(loss, abs=5.1e-5)
    assert data / (best * (1 - sparsity)) == pytest.approx(ratio, abs=0.6)


@pytest.mark.parametrize(("budget", "size", "sparsity"), ABNAR_SPARSITIES)
def test_abnar_optimal_sparsity(budget, size, sparsity):
    digits = 3 if sparsity > 0.99 else 2
    assert best_sparsity(size, budget) == pytest.approx(sparsity, abs=0.55 * 10**-digits)


@pytest.mark.parametrize(("budget", "ratio"), [(3e19, 0.46), (1e20, 0.53), (1e21, 0.68)])
def test_abnar_active_parameters_fall_with_sparsity(budget, ratio):
    sparse, dense = abnar_optimum(budget, 0.98)[0] * 0.02, abnar_optimum(budget, 0.0)[0]
    assert sparse / dense == pytest.approx(ratio, abs=0.006)


def abnar_budget(loss, sparsity):
    """The budget whose optimum has this loss."""
    return np.exp(brentq(lambda x: abnar_optimum(np.exp(x), sparsity)[1] - loss, np.log(1e17), np.log(1e26)))


@pytest.mark.parametrize(("budget", "sparsity", "multiplier"), ABNAR_MULTIPLIERS)
def test_abnar_dense_equivalent_compute(budget, sparsity, multiplier):
    equivalent = abnar_budget(abnar_optimum(budget, sparsity)[1], 0.0)
    assert equivalent / budget == pytest.approx(multiplier, abs=0.06 if multiplier < 12 else 0.6)


@pytest.mark.parametrize(("budget", "ratio"), ABNAR_SIXTEEN_TO_FOUR)
def test_abnar_sixteen_against_four_experts(budget, ratio):
    """Top-2: FLOPs of 16 experts over FLOPs of 4 at equal loss."""
    assert abnar_budget(abnar_optimum(budget, 0.5)[1], 0.875) / budget == pytest.approx(ratio, abs=0.006)


def joint_optimum(budget, experts):
    def loss(x):
        run = {"active_params": np.exp(x), "tokens": budget / (6 * np.exp(x)), "n_experts": experts}
        return float(JOINT.predict(JOINT.published["table3"], run))

    best = minimize_scalar(loss, bounds=(16, 30), method="bounded", options={"xatol": 1e-10})
    return float(np.exp(best.x)), float(best.fun)


@pytest.mark.parametrize(("budget", "experts", "size", "tokens"), JOINT_SIZES)
def test_joint_law_optimal_size(budget, experts, size, tokens):
    best = joint_optimum(budget, experts)[0]
    assert best / 1e9 == pytest.approx(size, abs=0.006)
    assert budget / (6 * best) / 1e9 == pytest.approx(tokens, abs=0.06)


@pytest.mark.parametrize(("budget", "ratio"), [(1e20, 0.63), (1e23, 0.57)])
def test_joint_law_sixteen_against_four_experts(budget, ratio):
    loss = joint_optimum(budget, 4)[1]
    same = np.exp(brentq(lambda x: joint_optimum(np.exp(x), 16)[1] - loss, np.log(budget) - 2, np.log(budget)))
    assert same / budget == pytest.approx(ratio, abs=0.006)


def test_tian_leverage_and_best_granularity():
    tian = law("tian2025")
    table2 = tian.published["table2"]
    run = {"activation_ratio": 0.031, "granularity": 12.0, "train_flops": 1e22}
    assert tian.predict(table2, run) == pytest.approx(7.24, abs=0.005)
    grid = np.linspace(4, 40, 36_001)
    best = grid[np.argmax(tian.predict(table2, run | {"granularity": grid}))]
    assert best == pytest.approx(11.3, abs=0.05)


@pytest.mark.parametrize(("router", "cutoff"), [("s-base", 937e9), ("rl-r", 85e9), ("hash", 83e9)])
def test_clark_cutoff_agrees_within_the_printed_digits(router, cutoff):
    """Routing stops helping where b + c log10 N = 0; b and c are printed to three decimals."""
    clark = law("clark2022").published[router]
    half = 5e-4
    low = (-clark["b"] - half) / (clark["c"] + half)
    high = (-clark["b"] + half) / (clark["c"] - half)
    assert low < np.log10(cutoff) < high


def test_clark_saturation_limits():
    clark = law("clark2022")
    params = dict(clark.published["s-base"])
    run = {"active_params": 1e8, "n_experts": np.array([1.0, 1e15])}
    size = 8 * params["c"]
    for experts, effective in zip(clark.predict(params, run), (params["E_start"], params["E_max"]), strict=True):
        log_loss = 8 * params["a"] + params["d"] + (params["b"] + size) * np.log10(effective)
        assert np.log10(experts) == pytest.approx(log_loss, rel=1e-9)


def test_laws_that_published_no_coefficients_say_so():
    assert not law("yun2024").published
    assert "no fitted coefficients" in law("yun2024").source


@pytest.mark.parametrize(("name", "key"), CASES)
def test_published_sets_predict_a_plausible_number(name, key):
    value = LAWS[name].predict(LAWS[name].published[key], RUN)
    assert 1 < value < 6 or LAWS[name].target == "tokens"
    assert LAWS[name].published[key].source
    assert LAWS[name].published[key].tag in {"T", "T2", "S", "M"}


@pytest.mark.parametrize("name", sorted(LAWS))
def test_gradient_is_exact(name):
    each, params = LAWS[name], params_of(name)
    exact = each.gradient(params, RUN)
    for letter, value in params.items():
        # A complex step would use the same code; central differences in 1e-5 of the value do not.
        step = 1e-5 * abs(value)
        up, down = (each.predict(params | {letter: value + sign * step}, RUN) for sign in (1, -1))
        numeric = (up - down) / (2 * step)
        assert exact[letter] == pytest.approx(numeric, rel=1e-5, abs=1e-9 / max(abs(value), 1e-9))


@pytest.mark.parametrize("name", sorted(LAWS))
def test_slopes_by_the_variables_are_exact(name):
    each, params = LAWS[name], params_of(name)
    exact = each.slopes(params, RUN)
    for letter, column in each.columns(RUN).items():
        step = 1e-5 * RUN[column]
        up, down = (each.predict(params, RUN | {column: RUN[column] + sign * step}) for sign in (1, -1))
        assert exact[letter] * step == pytest.approx((up - down) / 2, rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("name", sorted(LAWS))
def test_each_law_has_latex_source_and_a_described_parameter(name):
    each = LAWS[name]
    assert each.latex().count("{") == each.latex().count("}")
    assert each.source
    assert each.conventions
    assert all(p.meaning for p in each.parameters)
    assert all(v.meaning for v in each.variables)


def test_definitions_stand_below_their_formula():
    lines = LAWS["yun2024"].latex().split(r"\\")
    assert lines[0].startswith(r"\begin{aligned}L &= ")
    assert lines[1].startswith(r" \hat{E} &= ")
    assert "aligned" not in LAWS["hoffmann2022"].latex()


@pytest.mark.parametrize("name", sorted(LAWS))
def test_solve_for_each_variable_undoes_predict(name):
    each, params = LAWS[name], params_of(name)
    value = each.predict(params, RUN)
    for letter, column in each.columns(RUN).items():
        here = RUN[column]
        between = (here * 0.9, here * 1.1) if letter != "S" else (0.85, 0.95)
        found = each.solve_for(letter, value, params, RUN, between)
        assert found == pytest.approx(here, rel=1e-6)


def test_solve_for_says_when_there_is_no_answer():
    with pytest.raises(LawError, match="the target is not reached for N between"):
        law("hoffmann2022").solve_for("N", 1.0, params_of("hoffmann2022"), RUN, (1e6, 1e12))
    with pytest.raises(LawError, match="no variable 'E'"):
        law("hoffmann2022").solve_for("E", 1.0, params_of("hoffmann2022"), RUN, (1e6, 1e12))


def test_predict_broadcasts_replicates_over_runs():
    params = {name: np.full((3, 1), value) for name, value in TABLE3.items()}
    runs = {name: np.full(5, RUN[name]) for name in ("total_params", "tokens", "sparsity")}
    assert ABNAR.predict(params, runs).shape == (3, 5)
    assert ABNAR.gradient(params, runs)["e"].shape == (3, 5)


def test_missing_column_and_parameter_are_named():
    with pytest.raises(LawError, match="needs a column 'total_params' \\(N, total parameters\\); the table has 'loss'"):
        ABNAR.columns(["loss", "tokens"])
    with pytest.raises(LawError, match="no value for parameter 'e'"):
        ABNAR.predict({k: v for k, v in TABLE3.items() if k != "e"}, RUN)
    with pytest.raises(LawError, match="no law 'abnar'; there are abnar2025"):
        law("abnar")


def test_a_law_of_ones_own_takes_ten_lines_and_no_gradient():
    def mine():
        return law_from_formula(
            "mine",
            "E + A/N^alpha + B/(D*(1 - S)^kappa)^beta",
            variables={"N": "total_params", "D": "tokens", "S": "sparsity"},
        )

    own = mine()
    assert len(inspect.getsource(mine).splitlines()) <= 10
    assert own.parameter_names == ("E", "A", "alpha", "B", "kappa", "beta")
    assert [p.name for p in own.parameters if p.positive] == ["E", "A", "B"]
    params = {"E": 1.8, "A": 482.0, "alpha": 0.35, "B": 2085.0, "kappa": 0.2, "beta": 0.37}
    by_hand = 1.8 + 482 / 2.1e9**0.35 + 2085 / (3e10 * 0.1**0.2) ** 0.37
    assert own.predict(params, RUN) == pytest.approx(by_hand, rel=1e-13)
    assert own.gradient(params, RUN)["kappa"] == pytest.approx(
        -0.37 * np.log(0.1) * 2085 / (3e10 * 0.1**0.2) ** 0.37, rel=1e-12
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [("-2^2", -4), ("2^3^2", 512), ("8/4/2", 1), ("1-2-3", -4), ("2*-3", -6), ("(1+2)*3e1", 90), ("2**3", 8),
     ("ln(exp(2))", 2), ("log10(1000) + log2(8)", 6), ("sqrt(16)", 4), ("(-2)^3", -8), ("(0-2)^0", 1)],
)  # fmt: skip
def test_formulas_are_read_as_on_paper(text, value):
    from moelaws.formulas.duals import evaluate

    assert float(evaluate(parse(text), {}).value) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("E + ", "it ends too early"), ("A $ B", r"'\$' has no meaning here \(character 3\)"),
        ("__import__('os')", "has no meaning here"), ("log(N)", "no function 'log'; there are exp, ln"),
        ("(A + B", "this bracket is not closed"), ("A B", "'B' was not expected"), ("", "it ends too early"),
        ("(" * 80 + "A" + ")" * 80, "nested too deeply"), ("a.b", "'.' has no meaning"),
    ],
)  # fmt: skip
def test_formulas_that_cannot_be_read(text, message):
    with pytest.raises(FormulaError, match=message):
        parse(text)


def test_a_law_is_checked_when_it_is_made():
    with pytest.raises(LawError, match="'S' does not occur"):
        law_from_formula("mine", "A/N^a", {"N": "tokens", "S": "sparsity"})


def test_each_law_that_is_written_is_listed():
    folder = Path(moelaws.laws.__file__).parent
    modules = [importlib.import_module(f"moelaws.laws.{path.stem}") for path in folder.glob("*.py")]
    written = {each.name for module in modules for each in vars(module).values() if isinstance(each, Law)}
    assert written == set(LAWS)
