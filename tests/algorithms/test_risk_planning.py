"""Discount, episodes without end, the user's unit, CVaR as a constraint, programs for pomdp_py.

Costs about 3 processor seconds.
"""

import json
import random
import runpy
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from tenfold.algorithms.icvar.algorithm import ICVaR
from tenfold.algorithms.icvar.config import ICVaRConfig
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.algorithms.icvar.stationary import StationaryCVaR
from tenfold.algorithms.risk_pomdp.algorithm import RiskPOMDP
from tenfold.algorithms.risk_pomdp.beta import evaluate, solve
from tenfold.algorithms.risk_pomdp.config import RiskPOMDPConfig
from tenfold.algorithms.rs_disrl.algorithm import RSDisRLAlgorithm
from tenfold.algorithms.rs_disrl.config import RSDisRLConfig
from tenfold.algorithms.rs_disrl.constraint import ConstrainedPlanner
from tenfold.algorithms.rs_disrl.learners import Constrained
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.envs.risk.benchmarks import make_task
from tenfold.envs.risk.brute_force import every_policy
from tenfold.envs.risk.controller import Controller
from tenfold.envs.risk.discount import discounted_grid, discounted_mdp, discounted_pomdp, rest
from tenfold.envs.risk.measures import CVaR, Entropic, Expectation
from tenfold.envs.risk.pomdp_benchmarks import make_pomdp
from tenfold.envs.risk.pomdp_py_program import observed, of_states, pomdp_py_program
from tenfold.envs.risk.returns import GridMDP
from tenfold.envs.risk.static_benchmarks import grid_mdp, make_static_task

# A machine that is new or worn: run it gently or hard. Rewards outside [0, 1].
MACHINE = {
    "transition": [[[0.9, 0.1], [0.0, 1.0]], [[0.6, 0.4], [0.3, 0.7]]],
    "reward": [[2, 5], [1, -4]],
    "H": 3,
}
TIGER = """
discount: 0.9
values: reward
states: left right
actions: listen open-left open-right
observations: left right
start: uniform
T: listen
identity
T: open-left
uniform
T: open-right
uniform
O: *
0.85 0.15
0.15 0.85
R: listen : * : * : * -1
R: open-left : left : * : * -100
R: open-left : right : * : * 10
R: open-right : left : * : * 10
R: open-right : right : * : * -100
"""


def random_grid(seed: int) -> GridMDP:
    """Two states, two actions, two steps, stochastic rewards."""
    rng = np.random.default_rng(seed)

    def outcomes(h: int, s: int, a: int) -> list[tuple[int, int, float]]:
        p = rng.dirichlet(np.ones(2))
        return [(o, int(rng.integers(4)), float(p[o])) for o in range(2)]

    return grid_mdp(2, 2, 2, outcomes, 0, 0.25)


# Discount


def by_recursion(mdp, alpha: float, discount: float, n: int) -> np.ndarray:
    """n steps of discounted iterated CVaR at step 0's model, from its definition."""
    values = np.zeros(mdp.S)
    for _ in range(n):
        worst = np.array(
            [
                [CVaR(alpha)(values, mdp.transitions[0, s, a]) for a in range(mdp.A)]
                for s in range(mdp.S)
            ]
        )
        values = (mdp.rewards[0] + discount * worst).max(axis=1)
    return values


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_a_discounted_horizon_is_the_recursion_and_near_to_no_horizon(alpha: float) -> None:
    discount, H = 0.8, 12
    plain = make_task("mdp/WindyCliff-v0", alpha, H=H, rows=2, columns=3).mdp
    mdp = discounted_mdp(plain, discount)
    finite = IteratedCVaR(mdp, alpha).optimal().values[0]
    np.testing.assert_allclose(finite, by_recursion(plain, alpha, discount, H), atol=1e-12)
    endless = StationaryCVaR(mdp, alpha, discount).optimal().values[0]
    assert (endless >= finite - 1e-9).all()
    assert (endless <= finite + rest(discount, H, 1.0) + 1e-9).all()


@pytest.mark.parametrize("discount", [0.5, 0.9])
def test_sweeps_contract_by_the_discount_whatever_alpha(discount: float) -> None:
    mdp = discounted_mdp(make_task("mdp/FrozenLake-v0", 0.1).mdp, discount)
    for alpha in (0.01, 0.3, 1.0):
        planner, rng = StationaryCVaR(mdp, alpha, discount), np.random.default_rng(0)
        one, other = rng.random((2, mdp.S)) / (1 - discount)
        off = np.abs(planner.sweep(one) - planner.sweep(other)).max()
        assert off <= discount * np.abs(one - other).max() + 1e-12
        best, values = planner.optimal().values[0], np.zeros(mdp.S)
        for n in range(1, 30):
            values = planner.sweep(values)
            assert np.abs(values - best).max() <= discount**n / (1 - discount) + 1e-9


def test_the_stationary_policy_is_the_best_of_all_and_a_single_state_has_its_closed_form() -> None:
    rng = np.random.default_rng(3)
    kernel, rewards = rng.dirichlet(np.ones(3), size=(3, 2)), rng.random((3, 2))
    task = make_task("mdp/RandomMixture-v0", 0.3, S=3, A=2, H=1, d=1)
    mdp = type(task.mdp)(kernel[None], rewards[None], np.array([1.0, 0.0, 0.0]))
    planner = StationaryCVaR(mdp, 0.3, 0.7)
    solution = planner.optimal()
    every = [planner.evaluate(np.array([p]))[0] for p in product(range(2), repeat=3)]
    np.testing.assert_allclose(solution.values[0], np.max(every, axis=0), atol=1e-8)
    np.testing.assert_allclose(planner.evaluate(solution.policy), solution.values, atol=1e-8)
    sure = type(mdp)(np.ones((1, 1, 2, 1)), np.array([[[0.2, 0.6]]]), np.ones(1))
    assert StationaryCVaR(sure, 0.3, 0.7).optimal().values[0, 0] == pytest.approx(0.6 / 0.3)


def test_without_a_horizon_what_changes_with_the_step_is_refused_and_so_are_learners() -> None:
    def refused(task: str, words: str, **values) -> None:
        config = ICVaRConfig().environment(task)
        config.horizon, config.learner, config.discount = "infinite", "oracle", 0.9
        for key, value in values.items():
            setattr(config, key, value)
        with pytest.raises(ValueError, match=words) as refusal:
            config.validate()
        assert "\n" not in str(refusal.value)

    refused("mdp/RandomMixture-v0", "the same probabilities and rewards at every step")
    refused("mdp/WindyCliff-v0", "'learner': .* give oracle", learner="icvar_l")
    refused("mdp/WindyCliff-v0", "at most 0.9999", discount=1.0)


@pytest.mark.parametrize("gamma", [-2.0, 1.5])
def test_discounted_entropic_risk_has_a_risk_parameter_that_fades(gamma: float) -> None:
    """W_h = max_a log E exp(gamma d^h (r + d W_{h+1})) / (gamma d^h), on the budgeted path."""
    mdp, discount = make_static_task("static/BudgetedPath-v0", H=4), 0.5
    faded = discounted_grid(mdp, discount)
    worth = np.zeros(mdp.S)
    for h in reversed(range(mdp.H)):
        g = gamma * discount**h
        outcomes = mdp.step * mdp.rewards[h] + discount * worth[mdp.nexts[h]]
        worth = (np.log((mdp.probabilities[h] * np.exp(g * outcomes)).sum(axis=-1)) / g).max(axis=1)
    value = StaticPlanner(faded).solve(Entropic(gamma)).value
    # Rewards of 1, 1/2, 1/4 and 1/8 are on the finer grid exactly.
    assert value == pytest.approx(worth[mdp.initial], abs=1e-12)
    pomdp = make_pomdp("pomdp/Treatment-v0", H=3)
    late = discounted_pomdp(pomdp, discount)
    np.testing.assert_allclose(late.rewards[2], 0.25 * pomdp.rewards[2])
    assert solve(late, gamma).value < solve(pomdp, gamma).value


@pytest.mark.parametrize("rho", [CVaR(0.1), Expectation()], ids=str)
def test_a_longer_discounted_horizon_adds_no_more_than_its_rest(rho) -> None:
    values = {
        H: StaticPlanner(discounted_grid(make_static_task("static/BudgetedPath-v0", H=H), 0.7))
        .solve(rho)
        .value
        for H in (3, 8)
    }
    rounding = 8 * 0.5 * 0.1 / 40
    assert -rounding <= values[8] - values[3] <= rest(0.7, 3, 0.4) + rounding


# The user's unit


def made(config, algorithm, path: Path, **values):
    config = config().environment(str(path), env_config=values.pop("env_config", {}))
    config.episodes, config.episodes_per_iteration = 3, 3
    for key, value in values.items():
        setattr(config, key, value)
    return algorithm(config=config)


def measured(algorithm) -> dict[str, float]:
    return {**algorithm.train(), **algorithm.evaluate()}


@pytest.mark.parametrize("discount", [1.0, 0.8])
def test_results_are_in_the_files_unit(tmp_path: Path, discount: float) -> None:
    """Of rewards 3 r - 7 and r: values differ by an affine map, regret and gap by the factor."""
    results = []
    for name, factor, shift in (("own", 3.0, -7.0), ("plain", 1.0, 0.0)):
        path = tmp_path / f"{name}.json"
        rewards = factor * np.array(MACHINE["reward"], float) + shift
        path.write_text(json.dumps({**MACHINE, "reward": rewards.tolist()}))
        results.append(
            measured(made(ICVaRConfig, ICVaR, path, learner="uniform", discount=discount))
        )
    weights = (discount ** np.arange(3)).sum()
    own, plain = results
    for key in ("policy_value", "optimal_value", "episode_return", "expected_return"):
        assert own[key] == pytest.approx(3.0 * plain[key] - 7.0 * weights)
    for key in ("regret", "gap"):
        assert own[key] == pytest.approx(3.0 * plain[key])
    assert plain["gap"] > 0.0
    # The worst case of two steps by hand: gently 2 + 2 - 4, hard 5 + ...; alpha -> 0.
    assert plain["optimal_value"] <= 5.0 * weights


def test_a_value_without_end_is_in_the_files_unit(tmp_path: Path) -> None:
    path = tmp_path / "sure.json"
    path.write_text(json.dumps({"transition": [[[1.0]], [[1.0]]], "reward": [[-3.0, 7.0]], "H": 4}))
    oracle = made(ICVaRConfig, ICVaR, path, learner="oracle", horizon="infinite", discount=0.75)
    found = measured(oracle)
    assert found["optimal_value"] == pytest.approx(7.0 / 0.25)
    assert found["episode_return"] == pytest.approx(7.0 * (1 - 0.75**4) / 0.25)
    assert found["regret"] == pytest.approx(0.0, abs=1e-6)


def test_static_and_entropic_results_are_in_the_files_unit(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(MACHINE))
    oracle = made(
        RSDisRLConfig,
        RSDisRLAlgorithm,
        path,
        learner="oracle",
        rho="expectation",
        rho_parameters={},
        judged_episodes=2,
    )
    kernel, rewards = np.array(MACHINE["transition"]), np.array(MACHINE["reward"], float)
    values = np.zeros(2)
    for _ in range(3):
        values = (rewards + np.einsum("ast,t->sa", kernel, values)).max(axis=1)
    found = measured(oracle)
    assert found["optimal_value"] == pytest.approx(values[0])
    assert found["expected_return"] == pytest.approx(values[0])
    tiger = tmp_path / "tiger.pomdp"
    tiger.write_text(TIGER)
    found = measured(
        made(
            RiskPOMDPConfig,
            RiskPOMDP,
            tiger,
            learner="oracle",
            gamma_risk=-1e-6,
            env_config={"H": 2},
        )
    )
    assert found["optimal_value"] == pytest.approx(-2.0, abs=1e-3)  # listen twice
    assert found["episode_return"] == pytest.approx(-2.0)
    config = RiskPOMDPConfig().environment(str(tiger), env_config={"discounted": True})
    config.discount = 0.5
    with pytest.raises(ValueError, match="give one of them"):
        config.validate()


# CVaR as a constraint


def by_linear_programs(mdp: GridMDP, alpha: float, least: float) -> float:
    """The best lottery over all policies, by a program for each b; -inf without one."""
    distributions = np.array([mdp.return_distribution(policy) for policy in every_policy(mdp)])
    means, best = distributions @ mdp.returns, -np.inf
    for b in mdp.returns:
        k = distributions @ np.minimum(mdp.returns - b, 0.0)
        found = linprog(
            -means, A_ub=[-k], b_ub=[-alpha * (least - b)], A_eq=[np.ones(len(k))], b_eq=[1.0]
        )
        best = max(best, -found.fun) if found.success else best
    return best


@pytest.mark.parametrize(
    "mdp", [random_grid(1), random_grid(7), random_grid(9)], ids=["1", "7", "9"]
)
def test_the_constrained_optimum_is_that_of_linear_programs_over_all_policies(mdp) -> None:
    alpha = 0.4
    planner = StaticPlanner(mdp)
    low = float(CVaR(alpha)(mdp.returns, planner.solve(Expectation()).distribution))
    high = planner.solve(CVaR(alpha)).value
    for share in (-0.5, 0.3, 0.8, 1.0):
        least = low + share * (high - low)
        lottery = ConstrainedPlanner(planner, alpha, least).solve()
        assert lottery.value == pytest.approx(
            by_linear_programs(mdp, alpha, least - 1e-10), abs=1e-7
        )
        played = lottery.chances @ np.array([mdp.return_distribution(p) for p in lottery.policies])
        assert mdp.returns @ played == pytest.approx(lottery.value, abs=1e-9)
        assert CVaR(alpha)(mdp.returns, played) >= least - 1e-9
    beyond = ConstrainedPlanner(planner, alpha, high + 0.01).solve()
    assert CVaR(alpha)(mdp.returns, beyond.distribution) == pytest.approx(high)


def test_a_lottery_over_two_policies_is_worth_more_than_one_policy() -> None:
    """The lotteries: sure 0.4, or 1 with 0.6. CVaR 0.5 of the risk is 0.2; at least 0.3 is asked.

    With share w of the risk the worst 0.5 holds 0.4 w zeros and (0.5 - 0.4 w) of 0.4: CVaR is
    0.4 - 0.32 w >= 0.3 iff w <= 0.3125, and the mean is 0.4 + 0.2 w.
    """
    mdp = make_static_task("static/TwoLotteries-v0")
    lottery = ConstrainedPlanner(StaticPlanner(mdp), 0.5, 0.3).solve()
    assert lottery.value == pytest.approx(0.4 + 0.2 * 0.3125)
    assert sorted(lottery.chances) == pytest.approx([0.3125, 0.6875])


def test_learning_under_a_constraint_is_optimistic_and_ends_near_the_optimum() -> None:
    mdp, rng = make_static_task("static/TwoLotteries-v0"), np.random.default_rng(0)
    learner = Constrained(0.5, 0.3, mdp, Expectation(), "model", "lsr", 400, 1.0, 0.05)
    for k in range(400):
        if k % 50 == 0:
            assert learner.lottery().value >= 0.4625 - 1e-9
            policy = learner.plan(rng).policy
        learner.update(mdp.play(policy, rng))
    learner.scale = 0.0
    assert learner.lottery().value == pytest.approx(0.4625, abs=0.05)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"at_least": 0.5}, "'at_least': the largest CVaR at 0.5 that a policy has is 0.4"),
        ({"rho": "cvar", "rho_parameters": {"alpha": 0.5}}, "'rho': .* give expectation"),
        ({"learner": "keramati"}, "not for keramati"),
        ({"family": "linear"}, "not for linear"),
    ],
)
def test_a_constraint_that_does_not_fit_is_refused_in_one_sentence(values, words: str) -> None:
    config = RSDisRLConfig().environment("static/TwoLotteries-v0")
    config.rho, config.rho_parameters = "expectation", {}
    config.at_least, config.constraint_alpha = 0.3, 0.5
    for key, value in values.items():
        setattr(config, key, value)
    with pytest.raises(ValueError, match=words) as refusal:
        config.validate()
    assert "\n" not in str(refusal.value)


def test_a_constrained_run_has_no_regret_for_the_optimum_and_says_what_its_lottery_has() -> None:
    config = RSDisRLConfig().environment("static/TwoLotteries-v0")
    config.rho, config.rho_parameters, config.judged_episodes = "expectation", {}, 2
    config.at_least, config.constraint_alpha = 0.3, 0.5
    config.learner, config.episodes, config.episodes_per_iteration = "oracle", 4, 4
    found = measured(RSDisRLAlgorithm(config=config))
    assert found["regret"] == pytest.approx(0.0, abs=1e-9)
    assert found["lottery_mean"] == pytest.approx(0.4625)
    assert found["lottery_cvar"] == pytest.approx(0.3)


# Programs for pomdp_py


def test_a_program_for_pomdp_py_plays_the_policy(tmp_path: Path) -> None:
    pomdp = make_pomdp("pomdp/Treatment-v0", H=3)
    best = solve(pomdp, -1.0)
    controller = Controller.of_histories(best.policy, pomdp.O)
    path = tmp_path / "policy.py"
    path.write_text(pomdp_py_program(pomdp, controller, "Treatment", path.name))
    program = runpy.run_path(str(path))
    rng = random.Random(0)
    returns = np.array([program["play"](rng) for _ in range(400)])
    mean = evaluate(pomdp, 1e-6, best.policy)
    assert abs(returns.mean() - mean) <= 4 * returns.std() / 20
    assert set(np.round(3 * returns)) <= set(range(10))


def test_an_mdp_is_one_whose_state_is_observed(tmp_path: Path) -> None:
    mdp = make_task("mdp/FrozenLake-v0", 0.25, H=4, slip=0.0).mdp
    policy = IteratedCVaR(mdp, 0.25).optimal().policy
    path = tmp_path / "policy.py"
    path.write_text(pomdp_py_program(observed(mdp), of_states(policy), "ice", path.name))
    program = runpy.run_path(str(path))
    total = mdp.play(policy, np.random.default_rng(0)).total  # nothing is drawn without slips
    assert program["play"](random.Random(1)) == pytest.approx(total)
