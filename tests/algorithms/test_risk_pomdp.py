"""Beta vectors against enumeration of all episodes and policies, limits, bonus, regret."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.algorithms.risk_pomdp.algorithm import RiskPOMDP
from tenfold.algorithms.risk_pomdp.beta import (
    LEAST_GAMMA,
    best_plan,
    check_gamma,
    evaluate,
    risk_beliefs,
)
from tenfold.algorithms.risk_pomdp.config import RiskPOMDPConfig
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.envs.risk.pomdp import HindsightEpisode, HistoryPolicy, TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import make_pomdp, random_pomdp, tiger, treatment
from tenfold.envs.risk.pomdp_names import POMDP_NAMES


def episodes(pomdp: TabularPOMDP, policy: HistoryPolicy) -> Iterator[tuple[float, float]]:
    """Probability and return of every possible episode, one by one."""
    H, S, A, O = pomdp.H, pomdp.S, pomdp.A, pomdp.O  # noqa: E741
    for states in itertools.product(range(S), repeat=H):
        for seen in itertools.product(range(O), repeat=H):
            chance, total, history, last = pomdp.initial[states[0]], 0.0, 0, 0
            for h, (s, o) in enumerate(zip(states, seen, strict=True)):
                chance *= pomdp.emissions[h, s, o]
                history = o if h == 0 else (history * A + last) * O + o
                last = int(policy[h][history])
                total += pomdp.rewards[h, s, last]
                if h < H - 1:
                    chance *= pomdp.transitions[h, s, last, states[h + 1]]
            yield chance, total


def risk_by_hand(pomdp: TabularPOMDP, gamma: float, policy: HistoryPolicy) -> float:
    return float(np.log(sum(p * np.exp(gamma * r) for p, r in episodes(pomdp, policy))) / gamma)


def all_policies(pomdp: TabularPOMDP) -> Iterator[HistoryPolicy]:
    sizes = [pomdp.O * (pomdp.A * pomdp.O) ** h for h in range(pomdp.H)]
    for actions in itertools.product(range(pomdp.A), repeat=sum(sizes)):
        yield np.split(np.array(actions), np.cumsum(sizes)[:-1])


@given(st.integers(0, 10_000), st.sampled_from([-8.0, -1.0, -0.1, 0.1, 2.0, 8.0]))
@settings(max_examples=30, deadline=None)
def test_a_policys_risk_is_that_of_its_episodes(instance: int, gamma: float) -> None:
    pomdp = random_pomdp(H=3, S=2, A=2, O=2, instance=instance)
    rng = np.random.default_rng(instance)
    policy = [rng.integers(2, size=2 * 4**h) for h in range(3)]
    assert evaluate(pomdp, gamma, policy) == pytest.approx(risk_by_hand(pomdp, gamma, policy))


@pytest.mark.parametrize("gamma", [-3.0, -0.5, 0.5, 3.0])
@pytest.mark.parametrize("instance", range(3))
def test_the_best_plan_is_the_best_of_all_policies(instance: int, gamma: float) -> None:
    pomdp = random_pomdp(H=2, S=2, A=2, O=2, instance=instance)
    plan = best_plan(pomdp, gamma)
    best = max(risk_by_hand(pomdp, gamma, policy) for policy in all_policies(pomdp))
    assert plan.value == pytest.approx(best, abs=1e-12)
    assert evaluate(pomdp, gamma, plan.policy) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("gamma", [-1.5, 0.7])
def test_the_change_of_measure_holds_at_every_step(gamma: float) -> None:
    """sum_f <sigma_h(f), beta_h(f)> is E[e^{gamma R}] whatever h, along the policy's histories."""
    pomdp = random_pomdp(H=3, S=3, A=2, O=2, instance=4)
    plan = best_plan(pomdp, gamma)
    beliefs, total = {0: pomdp.emissions[0].T * pomdp.initial}, []
    reached = list(range(len(plan.policy[0])))
    for h in range(3):
        histories = sorted(reached)
        sigma = beliefs[h]
        total.append(sum(float(sigma[i] @ plan.beta[h][f]) for i, f in enumerate(histories)))
        if h == 2:
            break
        reached, grown = [], []
        for i, f in enumerate(histories):
            a = int(plan.policy[h][f])
            ahead = (sigma[i] * np.exp(gamma * pomdp.rewards[h, :, a])) @ pomdp.transitions[h, :, a]
            for o in range(2):
                reached.append((f * 2 + a) * 2 + o)
                grown.append(ahead * pomdp.emissions[h + 1, :, o])
        order = np.argsort(reached)
        beliefs[h + 1] = np.array(grown)[order]
    assert total == pytest.approx([np.exp(gamma * plan.value)] * 3)


def test_risk_beliefs_at_gamma_zero_are_bayes_beliefs() -> None:
    pomdp = tiger(H=3, accuracy=0.85)
    beliefs = risk_beliefs(pomdp, 1e-12)
    # Nothing heard (o = 0 is noise at first), listened, heard left: 0.85 of left.
    after_left = beliefs[1][(0 * 3 + 0) * 2 + 0]
    assert after_left[:2] == pytest.approx([0.85, 0.15])
    twice = beliefs[2][(((0 * 3 + 0) * 2 + 0) * 3 + 0) * 2 + 0]
    assert twice[0] == pytest.approx(0.85**2 / (0.85**2 + 0.15**2))


def neutral_value(pomdp: TabularPOMDP) -> float:
    """The risk-neutral optimum by backward induction on histories and Bayes' rule."""

    def ahead(h: int, weight: np.ndarray) -> float:
        best = -np.inf
        for a in range(pomdp.A):
            worth = float(weight @ pomdp.rewards[h, :, a])
            if h + 1 < pomdp.H:
                moved = weight @ pomdp.transitions[h, :, a]
                worth += sum(
                    ahead(h + 1, moved * pomdp.emissions[h + 1, :, o]) for o in range(pomdp.O)
                )
            best = max(best, worth)
        return best

    first = pomdp.emissions[0].T * pomdp.initial
    return sum(ahead(0, weight) for weight in first)


@pytest.mark.parametrize("name", POMDP_NAMES)
def test_small_gamma_is_risk_neutral(name: str) -> None:
    pomdp = make_pomdp(name, H=3)
    neutral = neutral_value(pomdp)
    for gamma in (1e-7, -1e-7, LEAST_GAMMA, -LEAST_GAMMA):
        assert best_plan(pomdp, gamma).value == pytest.approx(neutral, abs=1e-6)
    assert best_plan(pomdp, -2.0).value <= neutral + 1e-9
    assert best_plan(pomdp, 2.0).value >= neutral - 1e-9


@pytest.mark.parametrize("gamma", [-4.0, 3.0])
def test_seeing_the_state_gives_the_entropic_mdp(gamma: float) -> None:
    drawn = random_pomdp(H=4, S=3, A=2, O=3, instance=1)
    sees = np.repeat(np.eye(3)[None], 4, axis=0)
    pomdp = TabularPOMDP(drawn.transitions, sees, drawn.rewards, drawn.initial)
    value = np.zeros(3)  # risk-sensitive value iteration, in logarithms
    for h in reversed(range(4)):
        ahead = np.log(pomdp.transitions[h] @ np.exp(gamma * value)) / gamma if h < 3 else 0.0
        value = (pomdp.rewards[h] + ahead).max(axis=1)
    expected = np.log(pomdp.initial @ np.exp(gamma * value)) / gamma
    assert best_plan(pomdp, gamma).value == pytest.approx(expected, abs=1e-10)


def test_large_risk_neither_overflows_nor_leaves_the_range_and_tends_to_the_worst_case() -> None:
    pomdp = treatment(H=4)
    values = [best_plan(pomdp, gamma).value for gamma in (-75.0, -12.5, -1.0, 1.0, 12.5, 75.0)]
    assert np.isfinite(values).all()
    assert values == sorted(values)
    assert 0 <= values[0] <= values[-1] <= 4
    policy = best_plan(pomdp, -75.0).policy
    worst = min(total for chance, total in episodes(pomdp, policy) if chance > 0)
    # The worst episode's own probability costs log(1 / p) / |gamma|.
    least = min(chance for chance, total in episodes(pomdp, policy) if chance > 0)
    assert worst <= values[0] <= worst - np.log(least) / 75.0
    with pytest.raises(ValueError, match="'gamma'"):
        check_gamma(80.0, 4)
    with pytest.raises(ValueError, match="other than 0"):
        check_gamma(0.0, 4)


def test_a_two_step_treatment_by_hand() -> None:
    """Health 3 is seen exactly (noise 0): the mild drug keeps it with 0.9 and pays 1 + 1 or 2/3."""
    pomdp = treatment(H=2, noise=0.0)
    for gamma in (-5.0, 5.0):
        mild = np.log(0.9 * np.exp(2 * gamma) + 0.1 * np.exp(gamma * 5 / 3)) / gamma
        strong = np.log(0.65 * np.exp(2 * gamma) + 0.35 * np.exp(gamma)) / gamma
        sure = TabularPOMDP(pomdp.transitions, pomdp.emissions, pomdp.rewards, np.eye(4)[3])
        assert best_plan(sure, gamma).value == pytest.approx(max(mild, strong))
        assert best_plan(sure, gamma).policy[0][2] == 1


def test_counts_follow_the_convention_of_states() -> None:
    learner = HindsightLearner(np.zeros((3, 2, 2)), 2, -1.0, 1.0, 0.1, 10)
    episode = HindsightEpisode(np.array([0, 1, 1]), np.array([1, 0, 1]), np.array([1, 0, 1]), 0.0)
    learner.update(episode)
    assert learner.first.tolist() == [0, 1]
    assert learner.sights.sum() == 3
    assert learner.moves.sum() == 2  # nothing follows the last action
    assert learner.moves[0, 1, 1, 0] == learner.moves[1, 0, 0, 1] == 1
    model = learner.model()
    assert model.transitions[0, 0, 0].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("gamma", [-2.0, 2.0])
def test_optimism_covers_the_optimum(gamma: float) -> None:
    """With the theory's bonus the learner's own value is at least the optimum, in 50 runs."""
    truth = random_pomdp(H=3, S=2, A=2, O=2, instance=7)
    optimum = best_plan(truth, gamma).value
    for run in range(50):
        learner = HindsightLearner(truth.rewards, 2, gamma, 1.0, 0.05, 40)
        rng = np.random.default_rng(run)
        for _ in range(40):
            plan = learner.plan()
            learner.update(truth.play(plan.policy, rng))
        assert learner.plan().value >= optimum - 0.02


def test_the_bonus_fades_and_zero_counts_give_all_of_it() -> None:
    learner = HindsightLearner(np.zeros((3, 2, 2)), 2, -1.0, 1.0, 0.1, 10)
    fresh = learner.bonus()
    assert fresh[0] == pytest.approx(np.full((2, 2), 1 - np.exp(-3.0)))
    assert fresh[1] == pytest.approx(np.full((2, 2), 1 - np.exp(-2.0)))
    assert not fresh[2].any()
    learner.moves += 1e6
    learner.sights += 1e6
    assert (learner.bonus()[:2] < 0.1 * fresh[:2]).all()


def test_regret_flattens_with_a_bonus_grows_without_and_is_the_oracles_never() -> None:
    def regrets(**fields: object) -> list[float]:
        config = RiskPOMDPConfig().environment("risk_pomdp/CombinationLock-v0")
        config.update_from_dict({"episodes": 600, "episodes_per_iteration": 200, **fields})
        algorithm = RiskPOMDP(config)
        found = [algorithm.train()["regret"] for _ in range(3)]
        algorithm.stop()
        return found

    assert regrets(learner="oracle") == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)
    early, middle, late = regrets(bonus_scale=0.01)
    assert late - middle < 0.5 * early
    # Without a bonus the learner never finds out how the lock opens.
    early, middle, stuck = regrets(bonus_scale=0.0)
    assert stuck - middle > 0.8 * early
    assert regrets(learner="uniform")[2] > stuck > 2 * late


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"gamma_risk": 0.0}, "'gamma_risk'"),
        ({"gamma_risk": -200.0}, "-100 to 100"),
        ({"planning_gamma": 0.0}, "'planning_gamma'"),
        ({"learner": "best"}, "choose one of beta_vi"),
        ({"delta": 1.0}, "'delta'"),
        ({"episodes": 0}, "'episodes'"),
        ({"bonus_scale": -0.1}, "'bonus_scale'"),
        ({"bonus_scale": float("nan")}, "'bonus_scale'"),
        ({"gamma_risk": 1e-14}, "not nearer to it than 1e-08"),
        ({"gamma_risk": float("nan")}, "'gamma_risk'"),
        ({"env_config": {"cure": 1.5}}, "'cure'"),
        ({"env_config": {"cures": 0.5}}, "no field 'cures'"),
        ({"env_config": {"H": 40}}, "'H'"),
    ],
)
def test_mistakes_are_refused(fields: dict[str, object], said: str) -> None:
    config = RiskPOMDPConfig().environment("risk_pomdp/Treatment-v0")
    config.update_from_dict(fields)
    with pytest.raises(ValueError, match=said):
        config.validate()


def test_a_pomdp_that_is_none_is_refused() -> None:
    good = random_pomdp(H=2, S=2, A=2, O=2)
    with pytest.raises(ValueError, match="'emissions'"):
        TabularPOMDP(good.transitions, good.emissions * 0.9, good.rewards, good.initial)
    with pytest.raises(ValueError, match="'rewards' must lie"):
        TabularPOMDP(good.transitions, good.emissions, good.rewards + 1, good.initial)
    with pytest.raises(ValueError, match="'rewards' must lie"):
        TabularPOMDP(good.transitions, good.emissions, good.rewards * np.nan, good.initial)
    with pytest.raises(ValueError, match="does not fit"):
        TabularPOMDP(good.transitions, good.emissions[:1], good.rewards, good.initial)
