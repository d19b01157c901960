"""Static risk: the further measures, return distributions, the grid, and the Gymnasium views."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, wasserstein_distance

from tenfold.envs.risk.brute_force import best_risk, every_policy
from tenfold.envs.risk.measures import CVaR, Entropic, RiskMeasure
from tenfold.envs.risk.names import STATIC_TASK_NAMES
from tenfold.envs.risk.returns import GridMDP, project
from tenfold.envs.risk.static_benchmarks import make_static_task
from tenfold.envs.risk.static_measures import (
    MeanSemideviation,
    Wang,
    influence,
    make_measure,
    mean_cvar,
)

NEW: list[RiskMeasure] = [Wang(0.7), MeanSemideviation(0.8), MeanSemideviation(1.0)]
ALL: list[RiskMeasure] = [*NEW, CVaR(0.3), Entropic(-1.5), mean_cvar(0.2, 0.5)]
SPAN = 3.0


@st.composite
def distributions(draw: st.DrawFn, size: int = 5) -> tuple[np.ndarray, np.ndarray]:
    values = draw(st.lists(st.floats(0.0, SPAN), min_size=size, max_size=size))
    weights = draw(st.lists(st.integers(0, 20), min_size=size, max_size=size).filter(any))
    return np.array(values), np.array(weights) / sum(weights)


def test_wang_of_a_coin_and_of_a_normal_distribution_are_closed_forms() -> None:
    coin = 1.0 - norm.cdf(norm.ppf(0.3) + 0.7)
    assert Wang(0.7)([0.0, 1.0], [0.3, 0.7]) == pytest.approx(coin, abs=1e-14)
    n = 200_000  # Wang's transform moves a normal distribution by its shift
    x = norm.ppf((np.arange(n) + 0.5) / n)
    assert Wang(0.7)(x, np.full(n, 1.0 / n)) == pytest.approx(-0.7, abs=1e-3)


def test_wang_is_not_lipschitz() -> None:
    assert Wang(0.7).lipschitz_cdf(1.0) == math.inf
    p = 1e-12
    assert (1.0 - Wang(0.7)([0.0, 1.0], [p, 1.0 - p])) / p > 50.0


def test_semideviation_of_a_uniform_distribution_is_its_integral() -> None:
    n = 100_000
    x = (np.arange(n) + 0.5) / n
    below = quad(lambda u: 0.5 - u, 0.0, 0.5)[0]
    expected = 0.5 - 0.8 * below
    assert MeanSemideviation(0.8)(x, np.full(n, 1 / n)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("rho", NEW, ids=str)
@given(
    distribution=distributions(),
    other=distributions(),
    shift=st.floats(0.0, 1.0),
    index=st.integers(0, 4),
)
@settings(max_examples=60, deadline=None)
def test_new_measures_are_monotone_equivariant_and_lipschitz(
    rho, distribution, other, shift, index
) -> None:
    x, p = distribution
    value = float(rho(x, p))
    more = x.copy()
    more[index] += shift
    assert rho(more, p) >= value - 1e-12
    assert rho(x + shift, p) == pytest.approx(value + shift, abs=1e-9)
    y, q = other
    difference = abs(value - float(rho(y, q)))
    if isinstance(rho, MeanSemideviation):
        points = np.concatenate([x, y])[:, None]
        cdfs = (p * (x <= points)).sum(axis=1) - (q * (y <= points)).sum(axis=1)
        assert difference <= rho.lipschitz_cdf(SPAN) * np.abs(cdfs).max() + 1e-9
        assert difference <= rho.lipschitz(SPAN) * wasserstein_distance(x, y, p, q) + 1e-9


@pytest.mark.parametrize("rho", ALL, ids=str)
def test_the_derivative_in_values_is_the_difference_quotient(rho: RiskMeasure) -> None:
    x, p = np.array([0.1, 0.7, 1.3, 2.2]), np.array([0.15, 0.3, 0.35, 0.2])
    rates = [(rho(x + 1e-6 * e, p) - rho(x - 1e-6 * e, p)) / 2e-6 for e in np.eye(4)]
    np.testing.assert_allclose(rho.derivative(x, p), rates, atol=1e-6)


@pytest.mark.parametrize("rho", ALL, ids=str)
def test_influence_predicts_small_changes_of_the_distribution(rho: RiskMeasure) -> None:
    x, p = np.array([0.1, 0.7, 1.3, 2.2]), np.array([0.15, 0.3, 0.35, 0.2])
    direction = np.array([0.01, -0.02, 0.03, -0.02])
    moved = rho(x, p + 1e-4 * direction) - rho(x, p)
    assert influence(rho, x, p) @ direction * 1e-4 == pytest.approx(moved, rel=2e-3)


@given(distribution=distributions(), points=st.integers(2, 30))
@settings(max_examples=60, deadline=None)
def test_projection_keeps_the_mean_and_moves_less_than_a_grid_step(distribution, points) -> None:
    x, p = distribution
    grid = np.linspace(0.0, SPAN, points)
    projected = project(x, p, grid)
    assert projected @ grid == pytest.approx(p @ x, abs=1e-9)
    step = SPAN / (points - 1)
    for rho in (CVaR(0.3), MeanSemideviation(0.8)):
        bias = abs(float(rho(grid, projected / projected.sum()) - rho(x, p)))
        assert bias <= rho.lipschitz(SPAN) * step + 1e-9


def test_a_grid_that_does_not_cover_is_refused() -> None:
    with pytest.raises(ValueError, match="does not cover"):
        project(np.array([2.0]), np.array([1.0]), np.array([0.0, 1.0]))


def test_forward_convolution_is_the_sum_over_paths() -> None:
    mdp = make_static_task("static/BudgetedPath-v0", H=3)
    policy = np.random.default_rng(0).integers(2, size=(3, 1, mdp.Y))
    mass = np.zeros(mdp.Y)

    def walk(h: int, y: int, p: float) -> None:
        if h == mdp.H:
            mass[y] += p
            return
        a = policy[h, 0, y]
        for reward, q in zip(mdp.rewards[h, 0, a], mdp.probabilities[h, 0, a], strict=True):
            walk(h + 1, y + reward, p * q)

    walk(0, 0, 1.0)
    np.testing.assert_allclose(mdp.return_distribution(policy), mass, atol=1e-15)


def test_brute_force_tries_every_policy_on_what_can_be_reached() -> None:
    """After the path's first step y is 0 or 3, after the second 0, 1, 3, 4 or 7."""
    mdp = make_static_task("static/BudgetedPath-v0", H=3)
    policies = list(every_policy(mdp))
    assert len(policies) == 2 ** (1 + 2 + 5)
    assert len({policy.tobytes() for policy in policies}) == len(policies)
    # The safe return is 0.2 or 0.5; at the end of H = 1 there is only the lottery.
    lottery = make_static_task("static/BudgetedPath-v0", H=1)
    assert best_risk(lottery, CVaR(0.75)) == pytest.approx(0.1, abs=1e-12)


@pytest.mark.parametrize("name", STATIC_TASK_NAMES)
def test_played_returns_have_the_exact_mean(name: str) -> None:
    mdp = make_static_task(name)
    rng = np.random.default_rng(1)
    policy = rng.integers(mdp.A, size=(mdp.H, mdp.S, mdp.Y))
    mass = mdp.return_distribution(policy)
    mean = mdp.returns @ mass
    deviation = math.sqrt(mdp.returns**2 @ mass - mean**2)
    totals = [mdp.play(policy, rng).total for _ in range(800)]
    assert np.mean(totals) == pytest.approx(mean, abs=4 * deviation / math.sqrt(800) + 1e-9)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: make_measure("cva", {}), "choose one of"),
        (lambda: make_measure("cvar", {}), "takes exactly alpha"),
        (lambda: make_measure("cvar", {"alpha": 0.0}), "risk level"),
        (lambda: make_measure("entropic", {"gamma": 0.0}), "other than 0"),
        (lambda: make_measure("mean_semideviation", {"c": 2.0}), "from 0 to 1"),
        (lambda: make_measure("wang", {"shift": -1.0}), "at least 0"),
        (lambda: make_static_task("static/None-v0"), "choose one of"),
        (lambda: make_measure("cvar", {"alpha": "0.1"}), "'rho_parameters.alpha': give a finite"),
        (lambda: make_measure("cvar", {"alpha": [0.1]}), "give a finite number"),
        (lambda: make_measure("wang", {"shift": math.nan}), "give a finite number"),
        (lambda: make_measure("entropic", {"gamma": True}), "give a finite number"),
        (lambda: make_measure("dual", {}), "choose one of expectation, cvar"),
        (
            lambda: make_measure("spectral", {"alphas": 0.1, "weights": [1.0]}),
            "'rho_parameters.alphas': give a list of finite numbers",
        ),
        (
            lambda: make_static_task("static/Inventory-v0", H=900, orders=900),
            "H = 900, most = 9, orders = 900 would need arrays",
        ),
        (lambda: make_static_task("static/Betting-v0", win=1.5), "not a probability distribution"),
        (lambda: make_static_task("static/BudgetedPath-v0", H=900), "coarser"),
        (lambda: next(every_policy(make_static_task("static/Betting-v0"))), "can be tried"),
        (
            lambda: GridMDP(*np.zeros((2, 1, 1, 1, 1), int), np.ones((1, 1, 1, 1)), 0, 0.0),
            "grid step above 0",
        ),
    ],
)
def test_bad_input_is_one_sentence(build, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        build()
    assert "\n" not in str(refusal.value)
