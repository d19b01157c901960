"""Likelihood's confidence of the three risk methods: bounds, coverage, and that they are smaller.

Costs about 3 processor seconds.
"""

from itertools import product

import numpy as np
import pytest
from scipy.special import gammaln, xlogy

from tenfold.algorithms.common.likelihood_radius import likelihood_radius
from tenfold.algorithms.icvar.config import ICVaRConfig
from tenfold.algorithms.icvar.likelihood import LikelihoodL
from tenfold.algorithms.icvar.linear import ICVaRL
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.algorithms.risk_pomdp.config import RiskPOMDPConfig
from tenfold.algorithms.risk_pomdp.learner import (
    HindsightLearner,
    likelihood_width,
    variation_width,
)
from tenfold.algorithms.rs_disrl.config import RSDisRLConfig
from tenfold.algorithms.rs_disrl.learners import RSDisRL
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.algorithms.rs_disrl.sets import best_member, radius
from tenfold.envs.risk.benchmarks import make_task
from tenfold.envs.risk.measures import CVaR
from tenfold.envs.risk.mixture import Mixture
from tenfold.envs.risk.pomdp_benchmarks import combination_lock
from tenfold.envs.risk.static_benchmarks import make_static_task

SMALL = {"S": 4, "A": 2, "H": 3, "d": 2}


@pytest.mark.parametrize("m", [2, 3, 4])
def test_the_largest_likelihood_is_as_near_to_the_mixture_as_the_bound_says(m: int) -> None:
    """Over every vector of counts; the mixture is Dirichlet(1/2), in closed form."""
    nearest = np.inf
    for n in (1, 2, 5, 12, 20):
        for counts in product(range(n + 1), repeat=m):
            if sum(counts) != n:
                continue
            c = np.array(counts, float)
            largest = float(xlogy(c, c / n).sum())
            mixed = gammaln(c + 0.5).sum() - m * gammaln(0.5) + gammaln(m / 2) - gammaln(n + m / 2)
            slack = float(likelihood_radius(np.array(float(n)), m, 0.0)) - (largest - mixed)
            assert slack >= -1e-12
            nearest = min(nearest, slack)
    assert nearest < 0.6  # and it is not far above


def test_the_radius_is_kept_at_all_times_in_as_many_runs_as_stated() -> None:
    rng, delta, truth = np.random.default_rng(0), 0.1, np.array([0.7, 0.2, 0.1])
    outcomes = rng.choice(3, p=truth, size=(500, 200))
    counts = np.cumsum(np.eye(3)[outcomes], axis=1)  # (runs, n, 3)
    n = np.arange(1, 201.0)
    short = xlogy(counts, counts / n[:, None]).sum(axis=2) - counts @ np.log(truth)
    failed = (short > likelihood_radius(n, 3, np.log(1 / delta))).any(axis=1)
    assert failed.mean() <= delta
    assert (short > 0.1 * likelihood_radius(n, 3, np.log(1 / delta))).any(axis=1).mean() > delta


# Iterated CVaR: weights of mixtures


def learnt(task: Mixture, episodes: int, seed: int = 0, scale: float = 1.0) -> LikelihoodL:
    learner = LikelihoodL(task, 0.4, scale, 0.1)
    for k in range(episodes):
        solution = learner.plan(np.random.default_rng(0))
        learner.update(task.mdp.play(solution.policy, np.random.default_rng([seed, k])))
    learner.plan(np.random.default_rng(0))
    return learner


@pytest.mark.parametrize("episodes", [1, 20, 400])
@pytest.mark.parametrize("task", ["mdp/RandomMixture-v0", "mdp/RiskyShortcut-v0"])
def test_the_ellipsoid_holds_all_weights_that_are_likely_enough(task: str, episodes: int) -> None:
    """Along the segment of two weights, by the likelihood itself."""
    made = make_task(task, 0.4, **(SMALL if "Mixture" in task else {"p": 0.1}))
    learner = learnt(made, episodes)
    share = np.linspace(0.0, 1.0, 2_001)
    weights = np.stack([share, 1.0 - share], axis=1)
    kernels = np.tensordot(weights, made.kernels, axes=1)  # (weights, S, A, S)
    for h in range(made.mdp.H):
        fit = xlogy(learner.fitted[h], kernels).sum(axis=(1, 2, 3))
        n = learner.fitted[h].sum()
        bound = likelihood_radius(n, 2, learner.log_failures)
        likely = weights[fit >= fit.max() - bound]
        off = likely - learner.theta[h]
        lengths = np.sqrt(np.einsum("id,de,ie->i", off, learner.sigma[h], off))
        assert lengths.max() <= learner.radius[h] + 1e-9
        if episodes == 400 and h == 0:  # and it is not much larger
            assert lengths.max() >= 0.5 * learner.radius[h]


def test_likelihood_is_optimistic_in_as_many_runs_as_stated_and_its_sets_hold_the_truth() -> None:
    task = make_task("mdp/RandomMixture-v0", 0.4, **SMALL)
    best = IteratedCVaR(task.mdp, 0.4).optimal().values
    missed = uncovered = 0
    for seed in range(20):
        learner = learnt(task, 25, seed)
        missed += bool((learner.values < best - 1e-9).any())
        uncovered += not learner.covers()
    assert missed <= 2
    assert uncovered <= 2
    assert sum((learnt(task, 25, s, 0.02).values < best - 1e-9).any() for s in range(5)) >= 3


def test_nothing_known_is_the_best_of_the_kernels_and_much_known_is_the_optimum() -> None:
    task = make_task("mdp/RiskyShortcut-v0", 0.4, p=0.1, H=3)
    fresh = learnt(task, 0)
    assert fresh.values[0, 0] == pytest.approx(1.8)  # the risk is taken: it may never fall
    assert fresh.values[0, 1] == 0.0
    fresh.counts += 1e7 * task.mdp.transitions * np.array([1.0, 0.0])[:, None, None]
    solution = fresh.plan(np.random.default_rng(0))
    best = IteratedCVaR(task.mdp, 0.4).optimal()
    np.testing.assert_allclose(solution.values, best.values, atol=5e-3)
    np.testing.assert_array_equal(solution.policy[:, 0], best.policy[:, 0])


def test_at_scale_1_likelihood_leaves_the_burn_in_where_regression_does_not() -> None:
    task = make_task("mdp/RiskyShortcut-v0", 0.25, H=3, p=0.15)
    best = IteratedCVaR(task.mdp, 0.25).optimal()
    likely, regressed = LikelihoodL(task, 0.25, 1.0, 0.05), ICVaRL(task, 0.25, 600, 1.0, 0.05)
    for learner in (likely, regressed):
        for k in range(600):
            solution = learner.plan(np.random.default_rng(0))
            learner.update(task.mdp.play(solution.policy, np.random.default_rng(k)))
    assert best.policy[0, 0] == likely.plan(np.random.default_rng(0)).policy[0, 0] == 0
    assert regressed.plan(np.random.default_rng(0)).policy[0, 0] == 1


def test_likelihood_resumes_bit_for_bit() -> None:
    task = make_task("mdp/RandomMixture-v0", 0.4, **SMALL)
    whole, again = learnt(task, 60), LikelihoodL(task, 0.4, 1.0, 0.1)
    again.set_state(learnt(task, 45).get_state())
    for k in range(45, 60):
        solution = again.plan(np.random.default_rng(0))
        again.update(task.mdp.play(solution.policy, np.random.default_rng([0, k])))
    again.plan(np.random.default_rng(0))
    for key, value in whole.get_state().items():
        np.testing.assert_array_equal(again.get_state()[key], value)
    np.testing.assert_array_equal(again.values, whole.values)


# Static risk: sets for the mean of one function


def test_the_mean_of_one_function_is_covered_at_all_times_in_as_many_runs_as_stated() -> None:
    rng, delta, n = np.random.default_rng(1), 0.1, np.array([3.0, 10.0, 40.0, 160.0])
    truth, values = np.full(6, 1 / 6), np.array([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
    drawn = np.eye(6)[rng.choice(6, size=(400, 160))].cumsum(axis=1)
    p = drawn[:, n.astype(int) - 1] / n[:, None]  # (runs, 4, 6)
    mean, whole = (
        radius("mle", n, 6, np.log(1 / delta), 1.0, True, each) for each in ("mean", "set")
    )
    assert (mean < 0.6 * whole).all()
    member = best_member(
        "mle", p[..., None], values[:, None], np.broadcast_to(mean, p.shape[:2])[..., None]
    )
    missed = ((member[..., 0] @ values) < truth @ values - 1e-9).any(axis=1)
    assert missed.mean() <= delta


@pytest.mark.parametrize("family", ["model", "value"])
def test_planning_for_the_mean_is_optimistic_and_below_that_with_sets(family: str) -> None:
    mdp, rho = make_static_task("static/Inventory-v0", H=2, most=3, orders=2), CVaR(0.5)
    optimum, missed = StaticPlanner(mdp).solve(rho).value, 0
    for seed in range(10):
        made = {
            kind: RSDisRL(mdp, rho, family, "mle", 100, 1.0, 0.1, kind) for kind in ("mean", "set")
        }
        rng = np.random.default_rng(seed)
        for _ in range(100):
            episode = mdp.play(rng.integers(3, size=(2, mdp.S, mdp.Y)), rng)
            for learner in made.values():
                learner.update(episode)
        values = {kind: learner.plan(rng).value for kind, learner in made.items()}
        missed += values["mean"] < optimum - 1e-9
        assert values["mean"] <= values["set"] + 1e-6
    assert missed <= 1


# Entropic risk with hindsight: widths of Bernstein's kind


def test_widths_hold_the_variation_and_are_small_where_outcomes_are_certain() -> None:
    rng, log_failures = np.random.default_rng(2), np.log(1 / 0.1)
    for truth in (np.array([1.0, 0.0]), np.array([0.9, 0.06, 0.04]), np.full(4, 0.25)):
        for n in (5, 50, 500):
            counts = rng.multinomial(n, truth, size=400).astype(float)
            off = np.abs(counts / n - truth).sum(axis=1) / 2
            assert (off > likelihood_width(counts, log_failures)).mean() <= 0.1
    sure = np.array([[500.0, 0.0]])
    assert likelihood_width(sure, log_failures)[0] == pytest.approx(
        2.0 * likelihood_radius(np.array(500.0), 2, log_failures) / 500.0
    )
    assert likelihood_width(sure, log_failures)[0] < 0.5 * variation_width(sure, log_failures)[0]
    assert likelihood_width(np.zeros((1, 2)), log_failures)[0] == 1.0


def test_the_bonus_of_likelihood_covers_the_error_and_is_smaller_on_the_lock() -> None:
    bonuses = {}
    for kind in ("likelihood", "variation"):
        truth, rng = combination_lock(H=3), np.random.default_rng(0)
        learner = HindsightLearner(truth.rewards, 2, -1.0, 1.0, 0.05, 400, kind)
        for _ in range(400):
            policy = [rng.integers(2, size=2 * 4**h) for h in range(3)]
            learner.update(truth.play(policy, rng))
        joint, true = (
            m.transitions[:-1, ..., None] * m.emissions[1:, None, None]
            for m in (learner.model(), truth)
        )
        off = np.maximum(joint - true, 0.0).sum(axis=(3, 4))
        bonuses[kind] = learner.bonus()[:-1]
        seen = learner.moves[:-1].sum(axis=3) > 0
        assert (learner.weight[:-1] * off <= bonuses[kind])[seen].all()
    assert bonuses["likelihood"][seen].mean() < 0.85 * bonuses["variation"][seen].mean()


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (ICVaRConfig, {"confidence": "likelihood", "learner": "icvar_g"}, "'learner': .* icvar_l"),
        (ICVaRConfig, {"confidence": "likelihood", "lambda_": 2.0}, "'lambda': .* null"),
        (RSDisRLConfig, {"confidence": "mean"}, "'estimator': .* give mle"),
        (RiskPOMDPConfig, {"confidence": "likelihood", "learner": "baum_welch"}, "give variation"),
    ],
)
def test_confidence_that_does_not_fit_is_refused_in_one_sentence(config, values, words) -> None:
    made = config()
    for key, value in values.items():
        setattr(made, key, value)
    with pytest.raises(ValueError, match=words) as refusal:
        made.validate()
    assert "\n" not in str(refusal.value)
