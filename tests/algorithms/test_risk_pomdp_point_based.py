"""Point-based search against exact planning, plain POMDP and MDP recursions, and long horizons."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.algorithms.risk_pomdp.algorithm import RiskPOMDP, random_reactions
from tenfold.algorithms.risk_pomdp.beta import evaluate, solve
from tenfold.algorithms.risk_pomdp.config import RiskPOMDPConfig
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.algorithms.risk_pomdp.point_based import PointBasedPlanner
from tenfold.envs.risk.controller import Controller
from tenfold.envs.risk.names import POMDP_NAMES
from tenfold.envs.risk.pomdp import TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import make_pomdp, random_pomdp, tiger, treatment


def merged_optimum(pomdp: TabularPOMDP, gamma: float) -> float:
    """The optimum by recursion on beliefs rounded to ten digits, scaled step by step; by hand."""
    sign = np.sign(gamma)

    @cache
    def log_worth(h: int, belief: tuple[float, ...]) -> float:
        """sign x log of the best E[e^{gamma (reward to come)}] of a risk belief that sums to 1."""
        found = []
        for a in range(pomdp.A):
            weighted = np.array(belief) * np.exp(gamma * pomdp.rewards[h, :, a])
            if h == pomdp.H - 1:
                found.append(np.log(weighted.sum()))
                continue
            moved = weighted @ pomdp.transitions[h, :, a]
            found.append(total(h + 1, moved[:, None] * pomdp.emissions[h + 1]))
        return float(max(sign * np.array(found)) * sign)

    def total(h: int, joint: np.ndarray) -> float:
        terms = []
        for column in joint.T:
            if column.sum() > 0:
                key = tuple(np.round(column / column.sum(), 10))
                terms.append(np.log(column.sum()) + log_worth(h, key))
        return float(np.logaddexp.reduce(terms))

    return total(0, pomdp.initial[:, None] * pomdp.emissions[0]) / gamma


@pytest.mark.parametrize("name", POMDP_NAMES)
@pytest.mark.parametrize("gamma", [-5.0, -0.5, 1.0, 5.0])
def test_the_bounds_close_on_the_exact_optimum(name: str, gamma: float) -> None:
    pomdp = make_pomdp(name, H=4)
    exact = solve(pomdp, gamma).value
    planner = PointBasedPlanner(pomdp, gamma)
    for _ in range(5):  # bounds hold all the way
        found = planner.bounds()
        assert found.lower - 1e-9 <= exact <= found.upper + 1e-9
        assert evaluate(pomdp, gamma, found.controller) == pytest.approx(found.lower, abs=1e-9)
        planner.trial()
    found = planner.solve(1e-6, 200)
    assert found.gap <= 1e-6
    assert found.lower == pytest.approx(exact, abs=2e-6)


@given(st.integers(0, 10_000), st.sampled_from([-3.0, 2.0]), st.sampled_from([1e-9, 0.1]))
@settings(max_examples=25, deadline=None)
def test_merging_beliefs_never_breaks_a_bound(instance: int, gamma: float, merge: float) -> None:
    pomdp = random_pomdp(H=4, S=3, A=2, O=2, instance=instance)
    exact = solve(pomdp, gamma).value
    found = PointBasedPlanner(pomdp, gamma, merge=merge).solve(1e-4, 40)
    assert found.lower - 1e-9 <= exact <= found.upper + 1e-9
    if merge < 0.1:
        assert found.gap <= 1e-4


@pytest.mark.parametrize(
    ("pomdp", "gamma"),
    [(tiger(H=16), -1.0), (tiger(H=12), 4.0), (treatment(H=10), -5.0)],
    ids=["averse", "seeking", "gamma H = 50"],
)
def test_horizons_that_cannot_be_enumerated(pomdp: TabularPOMDP, gamma: float) -> None:
    with pytest.raises(ValueError, match="histories"):
        solve(pomdp, gamma)
    found = PointBasedPlanner(pomdp, gamma).solve(1e-3, 150)
    assert found.gap <= 1e-3
    assert evaluate(pomdp, gamma, found.controller) == pytest.approx(found.lower, abs=1e-9)
    if pomdp.S == 2:  # few beliefs differ: the recursion by hand is quick
        assert found.lower - 1e-6 <= merged_optimum(pomdp, gamma) <= found.upper + 1e-6


@pytest.mark.parametrize("gamma", [-1.0, 1.0])
def test_fifty_steps_neither_overflow_nor_break_a_bound(gamma: float) -> None:
    """|gamma| H = 50 on the tiger; 0.9 a step for listening alone."""
    found = PointBasedPlanner(tiger(H=50), gamma).solve(1e-3, 15)
    assert 45.0 < found.lower < found.upper < 48.0
    assert evaluate(tiger(H=50), gamma, found.controller) == pytest.approx(found.lower)


@pytest.mark.parametrize("gamma", [1e-7, -1e-7])
def test_small_gamma_is_the_risk_neutral_pomdp(gamma: float) -> None:
    """Against a recursion on Bayes beliefs that knows no exponentials."""
    pomdp = treatment(H=4)

    def ahead(h: int, weight: np.ndarray) -> float:
        found = []
        for a in range(pomdp.A):
            worth = float(weight @ pomdp.rewards[h, :, a])
            if h + 1 < pomdp.H:
                moved = (weight @ pomdp.transitions[h, :, a])[:, None] * pomdp.emissions[h + 1]
                worth += sum(ahead(h + 1, column) for column in moved.T)
            found.append(worth)
        return max(found)

    neutral = sum(ahead(0, column) for column in (pomdp.initial[:, None] * pomdp.emissions[0]).T)
    found = PointBasedPlanner(pomdp, gamma).solve(1e-7, 100)
    assert found.lower == pytest.approx(neutral, abs=1e-6)
    assert found.upper == pytest.approx(neutral, abs=1e-6)


@pytest.mark.parametrize("gamma", [-5.0, 5.0])
def test_seeing_the_state_gives_the_risk_sensitive_mdp_even_at_large_risk(gamma: float) -> None:
    """|gamma| H = 50, against value iteration in logarithms."""
    drawn = random_pomdp(H=10, S=3, A=2, O=3, instance=2)
    sees = np.repeat(np.eye(3)[None], 10, axis=0)
    pomdp = TabularPOMDP(drawn.transitions, sees, drawn.rewards, drawn.initial)
    value = np.zeros(3)
    for h in reversed(range(10)):
        ahead = np.log(pomdp.transitions[h] @ np.exp(gamma * value)) / gamma if h < 9 else 0.0
        value = (pomdp.rewards[h] + ahead).max(axis=1)
    expected = np.log(pomdp.initial @ np.exp(gamma * value)) / gamma
    found = PointBasedPlanner(pomdp, gamma).solve(1e-7, 300)
    assert found.lower == pytest.approx(expected, abs=1e-6)
    assert found.upper == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_smallest_controller_of_a_policy_acts_like_it(instance: int) -> None:
    pomdp = random_pomdp(H=4, S=3, A=2, O=3, instance=instance)
    policy = solve(pomdp, -1.0).policy
    controller = Controller.of_histories(policy, pomdp.O)
    assert controller.nodes < sum(len(actions) for actions in policy)
    assert evaluate(pomdp, -1.0, controller) == pytest.approx(evaluate(pomdp, -1.0, policy))
    read = Controller.from_json(controller.to_json())
    for seed in range(20):
        one, other = (pomdp.play(p, np.random.default_rng(seed)) for p in (policy, read))
        assert one.actions.tolist() == other.actions.tolist()
        assert one.total == other.total


def test_controllers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON object"):
        Controller.from_json('{"start": [0]}')
    with pytest.raises(ValueError, match="not one of its 1"):
        Controller.from_json('{"start": [0, 1], "actions": [[0]], "successors": []}')
    with pytest.raises(ValueError, match="one entry less"):
        Controller.from_json('{"start": [0], "actions": [[0]], "successors": [[[0]]]}')
    with pytest.raises(ValueError, match="must be of shape"):
        Controller.from_json('{"start": [0], "actions": [[0], [0]], "successors": [[[0, 0]]]}')


@pytest.mark.parametrize("gamma", [-2.0, 2.0])
def test_optimistic_search_covers_the_optimum_in_every_episode(gamma: float) -> None:
    """The upper bound of the optimistic model, and a policy that is nearly its best."""
    truth = random_pomdp(H=3, S=2, A=2, O=2, instance=7)
    optimum = solve(truth, gamma).value
    learner = HindsightLearner(truth.rewards, 2, gamma, 1.0, 0.05, 40)
    rng = np.random.default_rng(0)
    for _ in range(40):
        solution = learner.plan_point_based(1e-3, 30)
        assert solution.value >= max(optimum, learner.plan().value) - 1e-9
        learner.update(truth.play(solution.policy, rng))


@pytest.mark.parametrize("gamma", [-1.0, 1.0])
def test_without_a_bonus_search_finds_the_plan_of_the_frequencies(gamma: float) -> None:
    truth = random_pomdp(H=3, S=2, A=2, O=2, instance=7)
    learner = HindsightLearner(truth.rewards, 2, gamma, 0.0, 0.05, 40)
    rng = np.random.default_rng(0)
    for _ in range(10):
        learner.update(truth.play(random_reactions(truth, rng), rng))
    found = learner.plan_point_based(1e-7, 100)
    assert evaluate(learner.model(), gamma, found.policy) == pytest.approx(
        learner.plan().value, abs=1e-6
    )


def test_it_learns_where_histories_cannot_be_enumerated() -> None:
    """A lock of 12 steps: 8,388,608 histories, opened for good within 70 episodes."""
    lock = make_pomdp("pomdp/CombinationLock-v0", H=12)
    learner = HindsightLearner(lock.rewards, 2, -1.0, 0.01, 0.05, 90)
    rng, values = np.random.default_rng(0), []
    for _ in range(90):
        policy = learner.plan_point_based(1e-2, 10).policy
        values.append(evaluate(lock, -1.0, policy))
        learner.update(lock.play(policy, rng))
    assert min(values) < 0.6
    assert values[70:] == pytest.approx([1.0] * 20)


@pytest.mark.usefixtures("ray_session")
def test_the_algorithm_takes_the_point_based_planner() -> None:
    config = RiskPOMDPConfig().environment("pomdp/Tiger-v0")
    config.update_from_dict(
        {"planner": "point_based", "env_config": {"H": 10}, "episodes": 2, "learner": "oracle"}
    )
    algorithm = RiskPOMDP(config)
    regret, evaluated = algorithm.train()["regret"], algorithm.evaluate()
    algorithm.stop()
    assert 0.0 <= regret <= 2 * config.planner_gap
    assert evaluated["optimal_value"] == pytest.approx(merged_optimum(tiger(H=10), -1.0), abs=1e-3)
    assert evaluated["expected_return"] > evaluated["policy_value"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"planner": "best"}, "choose one of exact, point_based"),
        ({"planner_gap": 0.0}, "'planner_gap'"),
        ({"planner_trials": 0}, "'planner_trials'"),
    ],
)
def test_mistakes_are_refused(fields: dict[str, object], said: str) -> None:
    config = RiskPOMDPConfig().environment("pomdp/Tiger-v0")
    config.update_from_dict(fields)
    with pytest.raises(ValueError, match=said):
        config.validate()
