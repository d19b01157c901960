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
    check_gamma,
    evaluate,
    risk_beliefs,
    solve,
)
from tenfold.algorithms.risk_pomdp.config import RiskPOMDPConfig
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.algorithms.risk_pomdp.optimism import rewards_to_come
from tenfold.envs.risk.controller import Controller
from tenfold.envs.risk.measures import CVaR
from tenfold.envs.risk.names import POMDP_NAMES
from tenfold.envs.risk.pomdp import HindsightEpisode, HistoryPolicy, TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import make_pomdp, random_pomdp, tiger, treatment


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
def test_the_solution_is_the_best_of_all_policies(instance: int, gamma: float) -> None:
    pomdp = random_pomdp(H=2, S=2, A=2, O=2, instance=instance)
    solution = solve(pomdp, gamma)
    best = max(risk_by_hand(pomdp, gamma, policy) for policy in all_policies(pomdp))
    assert solution.value == pytest.approx(best, abs=1e-12)
    assert evaluate(pomdp, gamma, solution.policy) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("gamma", [-1.5, 0.7])
def test_the_change_of_measure_holds_at_every_step(gamma: float) -> None:
    """sum_f <sigma_h(f), beta_h(f)> is E[e^{gamma R}] whatever h, along the policy's histories."""
    pomdp = random_pomdp(H=3, S=3, A=2, O=2, instance=4)
    solution = solve(pomdp, gamma)
    beliefs, total = {0: pomdp.emissions[0].T * pomdp.initial}, []
    reached = list(range(len(solution.policy[0])))
    for h in range(3):
        histories = sorted(reached)
        sigma = beliefs[h]
        total.append(sum(float(sigma[i] @ solution.beta[h][f]) for i, f in enumerate(histories)))
        if h == 2:
            break
        reached, grown = [], []
        for i, f in enumerate(histories):
            a = int(solution.policy[h][f])
            ahead = (sigma[i] * np.exp(gamma * pomdp.rewards[h, :, a])) @ pomdp.transitions[h, :, a]
            for o in range(2):
                reached.append((f * 2 + a) * 2 + o)
                grown.append(ahead * pomdp.emissions[h + 1, :, o])
        order = np.argsort(reached)
        beliefs[h + 1] = np.array(grown)[order]
    assert total == pytest.approx([np.exp(gamma * solution.value)] * 3)


def test_risk_beliefs_at_gamma_zero_are_bayes_beliefs() -> None:
    pomdp = tiger(H=3, accuracy=0.85)
    beliefs = risk_beliefs(pomdp, 1e-12)
    assert beliefs[0][0] == pytest.approx([0.85, 0.15])  # heard left
    twice = beliefs[1][(0 * 3 + 0) * 2 + 0]  # heard left, listened, heard left
    assert twice[0] == pytest.approx(0.85**2 / (0.85**2 + 0.15**2))
    opened = beliefs[1][(0 * 3 + 1) * 2 + 1]  # heard left, opened left, heard right
    assert opened == pytest.approx([0.15, 0.85])


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
        assert solve(pomdp, gamma).value == pytest.approx(neutral, abs=1e-6)
    assert solve(pomdp, -2.0).value <= neutral + 1e-9
    assert solve(pomdp, 2.0).value >= neutral - 1e-9


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
    assert solve(pomdp, gamma).value == pytest.approx(expected, abs=1e-10)


def test_large_risk_neither_overflows_nor_leaves_the_range_and_tends_to_the_worst_case() -> None:
    pomdp = treatment(H=4)
    values = [solve(pomdp, gamma).value for gamma in (-75.0, -12.5, -1.0, 1.0, 12.5, 75.0)]
    assert np.isfinite(values).all()
    assert values == sorted(values)
    assert 0 <= values[0] <= values[-1] <= 4
    policy = solve(pomdp, -75.0).policy
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
        assert solve(sure, gamma).value == pytest.approx(max(mild, strong))
        assert solve(sure, gamma).policy[0][2] == 1


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


def runs_below(H: int, gamma: float, scale: float) -> int:
    """Of 20 runs, those whose own value is below the optimum in any of 40 episodes."""
    truth = random_pomdp(H=H, S=2, A=2, O=2, instance=7)
    optimum = solve(truth, gamma).value
    runs = 0
    for seed in range(20):
        learner = HindsightLearner(truth.rewards, 2, gamma, scale, 0.05, 40)
        rng = np.random.default_rng(seed)
        values = []
        for _ in range(40):
            solution = learner.plan()
            values.append(solution.value)
            learner.update(truth.play(solution.policy, rng))
        runs += min(values) < optimum - 1e-12
    return runs


@pytest.mark.parametrize("gamma", [-2.0, 2.0])
@pytest.mark.parametrize("H", [1, 3])
def test_optimism_covers_the_optimum_in_every_episode(H: int, gamma: float) -> None:
    """With delta 0.05 at most 5 % of runs may fail; without a bonus most do."""
    assert runs_below(H, gamma, 1.0) <= 1
    assert runs_below(H, gamma, 0.0) > 10


def learnt(truth: TabularPOMDP, gamma: float, scale: float, count: int) -> HindsightLearner:
    """A learner after some episodes of random behaviour."""
    learner = HindsightLearner(truth.rewards, truth.O, gamma, scale, 0.05, 60)
    rng = np.random.default_rng(count)
    A, O = truth.A, truth.O  # noqa: E741
    for _ in range(count):
        policy = [rng.integers(A, size=O * (A * O) ** h) for h in range(truth.H)]
        learner.update(truth.play(policy, rng))
    return learner


@pytest.mark.parametrize("gamma", [-2.0, 2.0])
@pytest.mark.parametrize("scale", [0.0, 0.05, 0.3])
def test_the_plan_is_the_best_of_all_policies_of_the_optimistic_model(
    scale: float, gamma: float
) -> None:
    """Each policy evaluated by itself: history by history, bonus added, range kept."""
    learner = learnt(random_pomdp(H=2, S=3, A=2, O=2, instance=3), gamma, scale, 30)
    model, bonus, sign = learner.model(), learner.bonus(), np.sign(gamma)
    low, high = rewards_to_come(model.rewards)

    def evaluated(policy: HistoryPolicy) -> float:
        def within(h: int, sigma: np.ndarray, value: float) -> float:
            ends = sorted((np.exp(gamma * low[h]), np.exp(gamma * high[h])))
            return float(np.clip(value, ends[0] * sigma.sum(), ends[1] * sigma.sum()))

        total = sign * learner.first_bonus()
        for o in range(2):
            sigma = model.emissions[0, :, o] * model.initial
            a = policy[0][o]
            value = sign * float(sigma @ bonus[0, :, a])
            for after in range(2):
                moved = (sigma * np.exp(gamma * model.rewards[0, :, a])) @ model.transitions[
                    0, :, a
                ]
                moved *= model.emissions[1, :, after]
                last = policy[1][(o * 2 + a) * 2 + after]
                value += within(1, moved, float(moved @ np.exp(gamma * model.rewards[1, :, last])))
            total += within(0, sigma, value)
        return float(np.log(within(0, np.ones(1), total)) / gamma)

    solution = learner.plan()
    best = max(evaluated(policy) for policy in all_policies(model))
    assert solution.value == pytest.approx(best, abs=1e-12)
    assert evaluated(solution.policy) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("gamma", [-0.7, 1.3, 40.0, -40.0])
def test_without_a_bonus_the_plan_is_the_exact_one_of_the_frequencies(gamma: float) -> None:
    learner = learnt(treatment(H=3), gamma, 0.0, 40)
    exact = solve(learner.model(), gamma)
    solution = learner.plan()
    assert solution.value == pytest.approx(exact.value, abs=1e-9)
    assert evaluate(learner.model(), gamma, solution.policy) == pytest.approx(exact.value, abs=1e-9)


@given(st.integers(0, 10_000), st.sampled_from([-6.0, -1.0, 0.5, 4.0]))
@settings(max_examples=40, deadline=None)
def test_the_bonus_is_as_large_as_the_error_it_covers(instance: int, gamma: float) -> None:
    """b_h(s, a) against the error of one step's probabilities for the worst vector in range."""
    truth = random_pomdp(H=3, S=3, A=2, O=2, instance=instance)
    learner = learnt(truth, gamma, 1.0, 50)
    model, bonus = learner.model(), learner.bonus()
    low, high = np.exp(gamma * np.stack(rewards_to_come(truth.rewards)))
    for h in range(2):
        joint, true = (
            m.transitions[h][..., None] * m.emissions[h + 1] for m in (model, truth)
        )  # (S, A, S, O)
        off = np.maximum(joint - true, 0.0).sum(axis=(2, 3)) * abs(high[h + 1] - low[h + 1])
        assert (np.exp(gamma * truth.rewards[h]) * off <= bonus[h] + 1e-12).all()
    first, true = (m.initial[:, None] * m.emissions[0] for m in (model, truth))
    off = np.maximum(first - true, 0.0).sum() * abs(high[0] - low[0])
    assert off <= learner.first_bonus() + 1e-12


def test_the_bonus_fades_and_zero_counts_give_all_of_it() -> None:
    rewards = np.repeat(np.array([[0.0, 0.5], [1.0, 0.5]])[None], 3, axis=0)
    learner = HindsightLearner(rewards, 2, -1.0, 1.0, 0.1, 10)
    fresh = learner.bonus()
    assert fresh[0] == pytest.approx(np.exp(-rewards[0]) * (1 - np.exp(-2.0)))
    assert fresh[1] == pytest.approx(np.exp(-rewards[1]) * (1 - np.exp(-1.0)))
    assert not fresh[2].any()
    assert learner.first_bonus() == pytest.approx(1 - np.exp(-3.0))
    learner.moves += 1e6
    learner.sights += 1e6
    assert (learner.bonus()[:2] < 0.1 * fresh[:2]).all()


def regret_curve(pomdp: TabularPOMDP, gamma: float, scale: float, K: int) -> np.ndarray:
    """Cumulative regret of one run, (K,)."""
    optimum = solve(pomdp, gamma).value
    learner = HindsightLearner(pomdp.rewards, pomdp.O, gamma, scale, 0.05, K)
    rng, gaps = np.random.default_rng(0), np.zeros(K)
    for k in range(K):
        policy = learner.plan().policy
        gaps[k] = optimum - evaluate(pomdp, gamma, policy)
        learner.update(pomdp.play(policy, rng))
    return gaps.cumsum()


def test_regret_does_not_depend_on_how_actions_are_numbered() -> None:
    """At scale 1 no action may win by its number alone: reversed numbers, similar regret."""
    for pomdp in (tiger(H=3), treatment(H=3)):
        turned = TabularPOMDP(
            pomdp.transitions[:, :, ::-1], pomdp.emissions, pomdp.rewards[:, :, ::-1], pomdp.initial
        )
        usual, reversed_ = (regret_curve(p, -1.0, 1.0, 300)[-1] for p in (pomdp, turned))
        assert reversed_ == pytest.approx(usual, rel=0.5)


def test_regret_flattens_with_a_bonus_and_grows_without() -> None:
    """The lock: without a bonus the learner never finds out how it opens."""
    lock = make_pomdp("pomdp/CombinationLock-v0", H=4)
    with_bonus, stuck = (regret_curve(lock, -1.0, scale, 300) for scale in (0.03, 0.0))
    assert with_bonus[299] - with_bonus[149] < 0.1 * with_bonus[149]
    assert stuck[299] - stuck[149] > 0.9 * stuck[149]
    assert stuck[299] > 5 * with_bonus[299]


def test_the_distribution_of_returns_is_that_of_the_episodes() -> None:
    pomdp = random_pomdp(H=3, S=2, A=2, O=2, instance=4)
    rng = np.random.default_rng(4)
    policy = [rng.integers(2, size=2 * 4**h) for h in range(3)]
    atoms, chances = pomdp.return_distribution(Controller.of_histories(policy, pomdp.O))
    by_hand: dict[float, float] = {}
    for chance, total in episodes(pomdp, policy):
        by_hand[round(total, 6)] = by_hand.get(round(total, 6), 0.0) + chance
    assert len(atoms) > 4
    assert np.round(atoms, 6).tolist() == sorted(by_hand)
    assert chances == pytest.approx([by_hand[key] for key in sorted(by_hand)])


@pytest.mark.usefixtures("ray_session")
def test_an_evaluation_in_a_run_has_the_mean_and_cvar_of_the_return() -> None:
    config = RiskPOMDPConfig().environment("pomdp/Treatment-v0", env_config={"H": 3})
    values = {"learner": "oracle", "episodes": 2, "evaluation_interval": 1, "judged_alpha": 0.3}
    config.update_from_dict(values)
    algorithm = RiskPOMDP(config)
    found = algorithm.train()["evaluation"]
    algorithm.stop()
    pomdp = make_pomdp("pomdp/Treatment-v0", H=3)
    chances, returns = np.array(list(episodes(pomdp, solve(pomdp, -1.0).policy))).T
    assert found["expected_return"] == pytest.approx(chances @ returns, abs=1e-5)
    assert found["return_cvar"] == pytest.approx(float(CVaR(0.3)(returns, chances)))


@pytest.mark.usefixtures("ray_session")
def test_the_algorithms_oracle_has_no_regret_and_chance_has() -> None:
    def regret(learner: str) -> float:
        config = RiskPOMDPConfig().environment("pomdp/CombinationLock-v0")
        config.update_from_dict({"episodes": 5, "episodes_per_iteration": 5, "learner": learner})
        algorithm = RiskPOMDP(config)
        found = algorithm.train()["regret"]
        algorithm.stop()
        return float(found)

    assert regret("oracle") == pytest.approx(0.0, abs=1e-9)
    assert regret("uniform") > 0.5


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
        ({"env_config": {"cure": 1.5}}, "Bad value 1.5 for 'env_config.cure'"),
        ({"env_config": {"cure": "abc"}}, "'env_config.cure': give a number"),
        ({"planning_gamma": "abc"}, "'planning_gamma': give a number"),
        ({"env_config": {"cures": 0.5}}, "env_config 'cures': did you mean 'cure'"),
        ({"env_config": {"H": 40}}, "H = 40, S = 4, A = 3, O = 3 make 4.926961e.37 histories"),
    ],
)
def test_mistakes_are_refused(fields: dict[str, object], said: str) -> None:
    config = RiskPOMDPConfig().environment("pomdp/Treatment-v0")
    config.update_from_dict(fields)
    with pytest.raises(ValueError, match=said):
        config.validate()


def test_a_learner_gets_the_gammas_that_were_asked_for() -> None:
    """RLlib builds algorithms from a state that leaves out every -1."""
    config = RiskPOMDPConfig()
    config.update_from_dict({"gamma_risk": -5.0, "planning_gamma": -1.0})
    copy = RiskPOMDPConfig.from_state(config.get_state())
    assert (copy.gamma_risk, copy.planning_gamma, copy.risk()) == (-5.0, -1.0, -1.0)


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
