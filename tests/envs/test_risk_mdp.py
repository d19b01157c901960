"""Tabular MDPs: what they refuse, episodes, return distributions and brute force."""

import numpy as np
import pytest

from tenfold.envs.risk.mdp import TabularMDP, all_policies, brute_force, return_distribution


def random_mdp(seed: int, H: int = 3, S: int = 3, A: int = 2) -> TabularMDP:
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(S), size=(H, S, A))
    rewards = rng.integers(0, 3, size=(H, S, A)) / 2
    return TabularMDP(transitions, rewards, rng.dirichlet(np.ones(S)))


def test_the_return_distribution_is_that_of_all_paths() -> None:
    mdp = random_mdp(0)
    policy = np.random.default_rng(1).integers(mdp.A, size=(mdp.H, mdp.S))
    paths: dict[float, float] = {}

    def follow(h: int, s: int, total: float, mass: float) -> None:
        if h == mdp.H:
            paths[round(total, 9)] = paths.get(round(total, 9), 0.0) + mass
            return
        a = policy[h, s]
        for after in range(mdp.S):
            step = mass * mdp.transitions[h, s, a, after]
            follow(h + 1, after, total + mdp.rewards[h, s, a], step)

    for s in range(mdp.S):
        follow(0, s, 0.0, mdp.initial[s])
    values, mass = return_distribution(mdp, policy)
    np.testing.assert_allclose(values, sorted(paths), atol=1e-12)
    np.testing.assert_allclose(mass, [paths[key] for key in sorted(paths)], atol=1e-12)
    assert mass.sum() == pytest.approx(1.0)


def test_episodes_follow_the_model() -> None:
    mdp = random_mdp(2)
    policy = np.zeros((mdp.H, mdp.S), dtype=int)
    rng = np.random.default_rng(0)
    episodes = [mdp.play(policy, rng) for _ in range(20_000)]
    starts = np.bincount([e.states[0] for e in episodes], minlength=mdp.S) / len(episodes)
    np.testing.assert_allclose(starts, mdp.initial, atol=0.015)
    after = [e.states[2] for e in episodes if e.states[1] == 1]
    seen = np.bincount(after, minlength=mdp.S) / len(after)
    np.testing.assert_allclose(seen, mdp.transitions[1, 1, 0], atol=0.03)
    values, mass = return_distribution(mdp, policy)
    assert np.mean([e.total for e in episodes]) == pytest.approx(values @ mass, abs=0.02)


def test_states_without_probability_are_never_reached() -> None:
    transitions = np.zeros((2, 3, 1, 3))
    transitions[..., 1] = 1.0
    mdp = TabularMDP(transitions, np.zeros((2, 3, 1)), np.array([0.0, 0.0, 1.0]))
    for seed in range(50):
        episode = mdp.play(np.zeros((2, 3), dtype=int), np.random.default_rng(seed))
        assert episode.states.tolist() == [2, 1, 1]


def test_brute_force_tries_every_policy() -> None:
    mdp = random_mdp(3, H=2, S=2, A=3)
    policies = {policy.tobytes() for policy in all_policies(mdp)}
    assert len(policies) == 3**4
    target = np.array([[2, 1], [0, 2]])
    best, found = brute_force(mdp, lambda policy: -float(np.abs(policy - target).sum()))
    assert best == 0.0
    assert found.tolist() == target.tolist()
    with pytest.raises(ValueError, match="policies: brute force takes at most"):
        next(all_policies(random_mdp(0, H=6, S=6, A=4)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda P, r, mu: (P * 0.9, r, mu), r"'transitions' at \(0, 0, 0\) is not a probability"),
        (lambda P, r, mu: (P - 0.0 * P + 1e-3, r, mu), "must sum to 1"),
        (lambda P, r, mu: (P, r + 0.7, mu), "rewards must be in \\[0, 1\\]"),
        (lambda P, r, mu: (P, r * np.nan, mu), "rewards must be in"),
        (lambda P, r, mu: (P, r, mu * 2), "'initial' is not a probability"),
        (lambda P, r, mu: (P, r[:1], mu), "'rewards' must be of shape"),
        (lambda P, r, mu: (P[0], r, mu), "'transitions' must be of shape"),
    ],
)
def test_what_is_no_mdp_is_refused_in_one_sentence(change, said: str) -> None:
    mdp = random_mdp(4)
    with pytest.raises(ValueError, match=said):
        TabularMDP(*change(mdp.transitions, mdp.rewards, mdp.initial))
