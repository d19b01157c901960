"""Hidden states come with the end of an episode only, and whoever tells them earlier is caught."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tenfold.envs.risk.hindsight import HindsightObservation, POMDPEnv, make_hindsight, play
from tenfold.envs.risk.leaks import check_no_leak
from tenfold.envs.risk.names import POMDP_NAMES
from tenfold.envs.risk.pomdp_benchmarks import make_pomdp, random_pomdp


@pytest.mark.parametrize("name", POMDP_NAMES)
def test_it_is_a_gymnasium_environment(name: str) -> None:
    check_env(POMDPEnv(make_pomdp(name)), skip_render_check=True)


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version.*")
def test_so_is_the_wrapper() -> None:
    check_env(make_hindsight("pomdp/Tiger-v0"), skip_render_check=True)


def test_states_and_rewards_are_told_at_the_end_alone() -> None:
    env = make_hindsight("pomdp/Treatment-v0", H=4)
    inner = env.unwrapped
    _, info = env.reset(seed=3)
    assert info == {}
    states, paid = [], []
    for h in range(4):
        states.append(inner.hidden_state)
        paid.append(inner.pomdp.rewards[h, states[-1], 1])
        _, reward, done, _, info = env.step(np.int64(1))
        if h < 3:
            assert (reward, done, info) == (0.0, False, {})
    assert done
    assert info["hindsight_states"].tolist() == states
    assert info["hindsight_rewards"].tolist() == paid
    assert reward == pytest.approx(sum(paid))


def test_episodes_follow_the_pomdps_probabilities() -> None:
    """Frequencies of 4,000 episodes against the model's, which `TabularPOMDP.play` follows too."""
    pomdp = random_pomdp(H=3, S=2, A=2, O=2, instance=1)
    env = HindsightObservation(POMDPEnv(pomdp))
    policy = [np.arange(2 * 4**h) % 2 for h in range(3)]  # the last observation is the action
    gym_, native = [], []
    rng = np.random.default_rng(0)
    for seed in range(4_000):
        for found, episode in (
            (gym_, play(env, policy, seed)),
            (native, pomdp.play(policy, rng)),
        ):
            assert episode.actions.tolist() == episode.observations.tolist()
            paid = pomdp.rewards[np.arange(3), episode.states, episode.actions].sum()
            assert episode.total == pytest.approx(paid)
            found.append((episode.total, *episode.states, *episode.observations))
    np.testing.assert_allclose(np.mean(gym_, axis=0), np.mean(native, axis=0), atol=0.04)


@pytest.mark.parametrize("name", POMDP_NAMES)
def test_the_protocol_leaks_nothing(name: str) -> None:
    env = make_hindsight(name, H=3)
    emissions = env.unwrapped.pomdp.emissions
    check_no_leak(env, episodes=300, emissions=emissions)

    def last_seen(history: list[int], info: Any) -> np.int64:
        return np.int64(history[-1] % env.action_space.n)

    check_no_leak(env, last_seen, episodes=300)


class Telling(gym.Wrapper):
    """A treatment that tells part of its state early, in the way that `how` names."""

    def __init__(self, how: str) -> None:
        self.how = how
        super().__init__(make_hindsight("pomdp/Treatment-v0", H=3))

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        return observation, self.told(info)

    def told(self, info: dict[str, Any]) -> dict[str, Any]:
        if self.how == "info":
            noise = int(self.unwrapped.np_random.integers(3))
            return {**info, "debug": {"field": [self.unwrapped.hidden_state == 0, noise]}}
        return info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        before = self.unwrapped.hidden_state
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.how == "reward" and not terminated:
            reward = before / 3
        if self.how == "end" and before == 0 and not terminated:
            truncated = True
            info = {"hindsight_states": np.array(self.env.states)}
        if self.how == "observation" and not terminated:
            observation = np.int64(max(0, self.unwrapped.hidden_state - 1))
        return observation, reward, terminated, truncated, self.told(info)


@pytest.mark.parametrize("how", ["info", "reward", "end", "observation"])
def test_an_environment_that_tells_early_is_caught(how: str) -> None:
    env = Telling(how)
    with pytest.raises(ValueError, match=f"The {how}"):
        check_no_leak(env, episodes=300, emissions=env.unwrapped.pomdp.emissions)


def test_noise_in_info_is_no_leak() -> None:
    class Noisy(gym.Wrapper):
        def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
            observation, _ = self.env.reset(**kwargs)
            return observation, {"noise": int(self.unwrapped.np_random.integers(3))}

    check_no_leak(Noisy(make_hindsight("pomdp/Random-v0", H=3)), episodes=300)


def test_an_agent_that_peeks_is_caught() -> None:
    env = make_hindsight("pomdp/Tiger-v0", H=3)

    def peeks(history: list[int], info: Any) -> np.int64:
        return np.int64(1 + env.unwrapped.hidden_state if len(history) == 5 else 0)

    with pytest.raises(ValueError, match="The action depends"):
        check_no_leak(env, peeks, episodes=300)


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(ValueError, match="'hindsight_states'"):
        check_no_leak(POMDPEnv(random_pomdp(H=2)), episodes=2)
    with pytest.raises(ValueError, match="Discrete"):
        check_no_leak(gym.make("CartPole-v1"), episodes=2)
