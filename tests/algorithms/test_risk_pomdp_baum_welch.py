"""Expected counts by enumeration of hidden states, likelihood that rises, states that go unread."""

import itertools

import numpy as np
import pytest

from tenfold.algorithms.risk_pomdp.algorithm import random_reactions
from tenfold.algorithms.risk_pomdp.baum_welch import BaumWelchLearner, expected_counts
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.envs.risk.pomdp import HindsightEpisode, TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import random_pomdp


def learner_of(truth: TabularPOMDP, episodes: int, seed: int = 0) -> BaumWelchLearner:
    """After some episodes of uniform behaviour."""
    learner = BaumWelchLearner(
        truth.rewards, truth.O, -1.0, 0.1, 0.05, 100, np.random.default_rng(seed)
    )
    rng = np.random.default_rng(seed + 1)
    for _ in range(episodes):
        learner.update(truth.play(random_reactions(truth, rng), rng))
    return learner


def test_expected_counts_are_those_of_all_hidden_states() -> None:
    model = random_pomdp(H=3, S=3, A=2, O=2, instance=2)
    seen = np.zeros(2 * 4**2)
    seen[[5, 17, 30]] = [2.0, 1.0, 4.0]
    first, moves, sights = np.zeros(3), np.zeros((3, 3, 2, 3)), np.zeros((3, 3, 2))
    likelihood = 0.0
    for history in (5, 17, 30):
        o = [history // 16, history // 4 % 2, history % 2]
        a = [history // 8 % 2, history // 2 % 2]
        chances = {}
        for s in itertools.product(range(3), repeat=3):
            chances[s] = model.initial[s[0]] * np.prod(
                [model.emissions[h, s[h], o[h]] for h in range(3)]
                + [model.transitions[h, s[h], a[h], s[h + 1]] for h in range(2)]
            )
        total = sum(chances.values())
        likelihood += seen[history] * np.log(total)
        for s, chance in chances.items():
            weight = seen[history] * chance / total
            first[s[0]] += weight
            for h in range(3):
                sights[h, s[h], o[h]] += weight
            for h in range(2):
                moves[h, s[h], a[h], s[h + 1]] += weight
    found = expected_counts(model, seen)
    for ours, by_hand in zip(found, (first, moves, sights, likelihood), strict=True):
        np.testing.assert_allclose(ours, by_hand, atol=1e-12)


def test_a_sweep_never_lowers_the_posterior() -> None:
    learner = learner_of(random_pomdp(H=3, S=3, A=2, O=3, instance=5), 0)
    learner.seen += np.random.default_rng(0).integers(5, size=learner.seen.shape)
    found = [learner.sweep() for _ in range(40)]
    assert (np.diff(found) >= -1e-9).all()
    assert found[-1] > found[0] + 10.0


def test_hidden_states_are_not_read() -> None:
    truth = random_pomdp(H=3, S=3, A=2, O=3, instance=5)
    learners = [learner_of(truth, 0) for _ in range(2)]
    rng = np.random.default_rng(3)
    for _ in range(10):
        episode = truth.play(random_reactions(truth, rng), rng)
        hidden = HindsightEpisode(
            episode.observations, episode.actions, np.full(3, -1), episode.total
        )
        learners[0].update(episode)
        learners[1].update(hidden)
    one, other = (learner.get_state() for learner in learners)
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key])


def test_it_resumes_equal() -> None:
    truth = random_pomdp(H=3, S=3, A=2, O=3, instance=5)
    straight = learner_of(truth, 20)
    resumed = learner_of(truth, 0, seed=9)
    resumed.set_state(straight.get_state())
    assert resumed.sweep() == straight.sweep()
    for one, other in zip(straight.plan().policy, resumed.plan().policy, strict=True):
        np.testing.assert_array_equal(one, other)


def test_where_states_are_seen_it_counts_as_hindsight_does() -> None:
    """From a prior that names the states, observations are the states."""
    drawn = random_pomdp(H=3, S=3, A=2, O=3, instance=5)
    sees = np.repeat(np.eye(3)[None], 3, axis=0)
    truth = TabularPOMDP(drawn.transitions, sees, drawn.rewards, drawn.initial)
    blind = learner_of(truth, 0)
    blind.prior["sights"] = sees
    told = HindsightLearner(truth.rewards, 3, -1.0, 0.1, 0.05, 100)
    rng = np.random.default_rng(4)
    for _ in range(30):
        episode = truth.play(random_reactions(truth, rng), rng)
        told.update(episode)
        blind.seen[_number(episode, 2, 3)] += 1
    blind.sweep()
    for key, value in told.get_state().items():
        np.testing.assert_allclose(blind.get_state()[key], value, atol=1e-12)
    assert blind.bonus() == pytest.approx(told.bonus())


def _number(episode: HindsightEpisode, A: int, O: int) -> int:  # noqa: E741
    history = int(episode.observations[0])
    for a, o in zip(episode.actions[:-1], episode.observations[1:], strict=True):
        history = (history * A + int(a)) * O + int(o)
    return history
