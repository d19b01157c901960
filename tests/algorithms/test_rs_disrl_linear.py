"""RS-DisRL-V with the linear class: regression of distributions, its optimism, and its bias."""

import numpy as np
import pytest

from tenfold.algorithms.common.replanning import next_planning
from tenfold.algorithms.rs_disrl.learners import LinearV
from tenfold.algorithms.rs_disrl.linear import LinearPlanner, hats
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.envs.risk.measures import CVaR, Entropic, Expectation, RiskMeasure
from tenfold.envs.risk.static_benchmarks import make_static_task

PATH = make_static_task("static/BudgetedPath-v0", H=4)
BETTING = make_static_task("static/Betting-v0", H=3, capital=2, most=5, win=0.7)
MEASURES = [Expectation(), CVaR(0.25), CVaR(0.5), Entropic(-1.5)]


def endless_data(mdp):
    """Counts in exact proportion, so many that the ridge does not matter."""
    return np.repeat(mdp.probabilities[..., None], mdp.Y, axis=-1) * 1e9


def sampled_data(mdp, episodes: int, seed: int) -> np.ndarray:
    """Counts of uniform play."""
    rng, counts = np.random.default_rng(seed), np.zeros((*mdp.probabilities.shape, mdp.Y))
    for _ in range(episodes):
        episode = mdp.play(rng.integers(mdp.A, size=(mdp.H, mdp.S, mdp.Y)), rng)
        steps = np.arange(mdp.H)
        counts[
            steps, episode.states[:-1], episode.actions, episode.outcomes, episode.collected[:-1]
        ] += 1.0
    return counts


@pytest.mark.parametrize("rho", MEASURES, ids=str)
@pytest.mark.parametrize("mdp", [PATH, BETTING], ids=["path", "betting"])
def test_with_a_hat_at_every_y_and_endless_data_it_is_exact_planning(mdp, rho) -> None:
    solution = LinearPlanner(mdp, endless_data(mdp), hats(mdp.Y, mdp.Y), 1.0, 0.0).solve(rho)
    assert solution.value == pytest.approx(StaticPlanner(mdp).solve(rho).value, abs=1e-6)
    assert mdp.risk(rho, solution.policy) == pytest.approx(solution.value, abs=1e-6)


def test_fewer_hats_are_biased_but_keep_distributions_and_ends() -> None:
    found = hats(PATH.Y, 4)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_allclose(found @ np.linspace(0, PATH.Y - 1, 4), np.arange(PATH.Y))
    planner = LinearPlanner(PATH, endless_data(PATH), found, 1.0, 0.0)
    solution = planner.plan_for(PATH.returns, Expectation())
    assert solution.distribution.min() >= 0.0
    assert solution.distribution.sum() == pytest.approx(1.0)
    assert 0.01 < abs(solution.value - 0.75) < 0.05


def test_regression_is_that_of_least_squares() -> None:
    """The mean of the last step's distribution against numpy's solution of the ridge problem."""
    counts, features = sampled_data(PATH, 30, 0), hats(PATH.Y, 5)
    planner = LinearPlanner(PATH, counts, features, 1.0, 0.0)
    end = np.zeros((1, PATH.Y, PATH.Y))
    end[..., 0] = 1.0
    gamble = np.cumsum(planner._regressed(3, end, 4)[0, 1], axis=-1)  # (Y, X)
    rows, targets = [], []
    for o, y in zip(*np.nonzero(counts[3, 0, 1]), strict=True):
        for _ in range(int(counts[3, 0, 1, o, y])):
            rows.append(features[y])
            targets.append(float(PATH.rewards[3, 0, 1, o] <= 2))
    design = np.vstack([*rows, np.eye(5)])
    theta = np.linalg.lstsq(design, np.append(targets, np.zeros(5)), rcond=None)[0]
    np.testing.assert_allclose(gamble[:, 2], np.clip(features @ theta, 0.0, 1.0), atol=1e-9)


@pytest.mark.parametrize("rho", [Expectation(), CVaR(0.5)], ids=str)
def test_optimism_holds_and_grows_with_the_bonus(rho: RiskMeasure) -> None:
    optimum = StaticPlanner(PATH).solve(rho).value
    features, held = hats(PATH.Y, PATH.Y), 0
    for seed in range(6):
        counts = sampled_data(PATH, 40, seed)
        values = [
            LinearPlanner(PATH, counts, features, 3.0, scale).solve(rho).value
            for scale in (0.0, 0.1, 1.0)
        ]
        if isinstance(rho, Expectation):
            assert np.all(np.diff(values) >= -1e-9)
        held += values[-1] >= optimum - 1e-9
    assert held == 6


def test_a_tuned_learner_ends_within_1_percent_of_the_optimum() -> None:
    rho = CVaR(0.25)
    learner, due = LinearV(PATH, rho, 5, episodes=1_000, bonus_scale=0.1, delta=0.05), 0
    for k in range(1_000):
        if k >= due:
            policy, due = learner.plan(np.random.default_rng(k)).policy, next_planning(k, 0.1)
        learner.update(PATH.play(policy, np.random.default_rng([0, k])))
    assert PATH.risk(rho, policy) >= 0.99 * StaticPlanner(PATH).solve(rho).value


@pytest.mark.parametrize("n", [1, 17])
def test_hats_that_do_not_fit_the_grid_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="give 2 to 16"):
        hats(PATH.Y, n)
