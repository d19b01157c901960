"""ICVaR-HF: the fit against scipy, what is learnt of rewards, what is never read (5 s)."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from tenfold.algorithms.icvar.algorithm import ICVaR
from tenfold.algorithms.icvar.config import ICVaRConfig
from tenfold.algorithms.icvar.feedback import RIDGE, Human, HumanFeedback, fit, information
from tenfold.algorithms.icvar.linear import ICVaRL
from tenfold.envs.risk.benchmarks import make_task
from tenfold.envs.risk.mixture import Mixture

TASK = make_task("mdp/RandomMixture-v0", 0.25)
K = 400


def learner(task: Mixture = TASK, bonus_scale: float = 0.05) -> HumanFeedback:
    planner = ICVaRL(task, 0.25, K, 0.003, 0.05)
    return HumanFeedback(planner, Human(4.0, 0, K), K, bonus_scale, 0.05)


def learn(built: HumanFeedback, episodes: range) -> None:
    """Episodes of random policies, the same for every learner."""
    for number in episodes:
        rng = np.random.default_rng(number)
        policy = rng.integers(TASK.mdp.A, size=(TASK.mdp.H, TASK.mdp.S))
        built.update(TASK.mdp.play(policy, rng))


def test_the_fit_is_the_one_that_scipy_finds() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(-3, 4, size=(60, 5)).astype(float)
    y = np.where(rng.random(60) < 0.5, 1.0, -1.0)

    def loss(w: np.ndarray) -> float:
        odds = np.log1p(np.exp(-4.0 * y * (X @ w))).sum()
        return float(odds + RIDGE / 2 * ((w - 0.5) ** 2).sum())

    found = fit(X, y, 4.0, np.zeros(5))
    np.testing.assert_allclose(found, minimize(loss, np.zeros(5), tol=1e-12).x, atol=1e-5)
    slopes = [
        (loss(found + e) + loss(found - e) - 2 * loss(found)) / 1e-6 for e in 1e-3 * np.eye(5)
    ]
    np.testing.assert_allclose(np.diag(information(X, y, 4.0, found)), slopes, rtol=1e-3)


def test_the_human_prefers_by_bradley_and_terry() -> None:
    human, said = Human(2.0, 7, 4_001), []
    human.compare(0, 0.0)
    for number in range(1, 4_001):
        human.totals[:number] = 0.3
        answer = human.compare(number, 0.8)
        assert answer is not None
        assert 0 <= answer[0] < number
        said.append(answer[1])
    share = expit(2.0 * 0.5)
    assert abs(np.mean(said) - share) < 4.0 * np.sqrt(share * (1.0 - share) / 4_000)


def test_rewards_are_learnt_up_to_what_no_policy_sees() -> None:
    rng, d = np.random.default_rng(1), 6
    truth = rng.random(d)
    visits = rng.multinomial(5, np.full(d, 1 / d), size=4_000)  # episodes of five steps
    X = np.diff(visits, axis=0).astype(float)
    y = np.where(rng.random(len(X)) < expit(4.0 * X @ truth), 1.0, -1.0)
    found = fit(X, y, 4.0, np.full(d, 0.5))
    np.testing.assert_allclose(found - found.mean(), truth - truth.mean(), atol=0.05)


def test_plans_follow_from_what_is_said_and_never_from_the_rewards() -> None:
    other = replace(TASK.mdp, rewards=TASK.mdp.rewards[::-1, ::-1] * 0.9)
    known, blind = learner(), learner(replace(TASK, mdp=other))
    assert not np.array_equal(TASK.mdp.rewards, other.rewards)
    for built in (known, blind):
        learn(built, range(200))
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(known.plan(rng).policy, blind.plan(rng).policy)
    np.testing.assert_array_equal(known.plan(rng).values, blind.plan(rng).values)


def test_a_restored_learner_goes_on_as_the_saved_one() -> None:
    straight, first, second = learner(), learner(), learner()
    rng = np.random.default_rng(0)
    for built in (straight, first):
        learn(built, range(100))
        built.plan(rng)
    second.set_state(first.get_state())
    for built in (straight, second):
        built.plan(rng)
        learn(built, range(100, 130))
    np.testing.assert_array_equal(straight.plan(rng).values, second.plan(rng).values)
    for key, value in straight.get_state().items():
        np.testing.assert_array_equal(value, second.get_state()[key], err_msg=key)


def test_a_wider_bonus_never_lowers_a_reward() -> None:
    narrow, wide = learner(bonus_scale=0.0), learner(bonus_scale=0.1)
    for built in (narrow, wide):
        learn(built, range(50))
    assert (wide.rewards() >= narrow.rewards()).all()
    assert (wide.rewards() > narrow.rewards()).any()


@pytest.mark.parametrize("seed", [3, 4])
def test_comparisons_alone_lead_near_the_optimum(seed: int) -> None:
    config = ICVaRConfig().environment("mdp/RandomMixture-v0").debugging(seed=seed)
    config.update_from_dict(
        {"learner": "human_feedback", "episodes": 1_000, "episodes_per_iteration": 1_000}
    )
    algorithm = ICVaR(config)
    result = algorithm.train()
    assert result["policy_value"] >= 0.93 * result["optimal_value"]
    algorithm.stop()
