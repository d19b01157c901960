"""Hindsight observation as a Gymnasium protocol: hidden states are revealed at an episode's end.

`POMDPEnv` plays a tabular POMDP; `HindsightObservation` wraps any environment that has a hidden
state and tells nothing but observations until the end. `leaks.py` checks that this holds.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from tenfold.envs.risk.pomdp import HindsightEpisode, HistoryPolicy, TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import make_pomdp


class POMDPEnv(gym.Env[np.int64, np.int64]):
    """A tabular POMDP as a Gymnasium environment.

    Observation: Discrete(O), drawn from the hidden state. Action: Discrete(A). Reward: r_h(s, a),
    which an observer could read the state from. An episode terminates after H steps; the
    observation that comes with its end is the last one again.

    Args:
        pomdp: The POMDP.

    Attributes:
        hidden_state: The state now, an int.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, pomdp: TabularPOMDP) -> None:
        self.pomdp = pomdp
        self.observation_space = gym.spaces.Discrete(pomdp.O)
        self.action_space = gym.spaces.Discrete(pomdp.A)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        super().reset(seed=seed)
        self.h = 0
        self.hidden_state = int(self.np_random.choice(self.pomdp.S, p=self.pomdp.initial))
        return self._observe(), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        reward = float(self.pomdp.rewards[self.h, self.hidden_state, action])
        if self.h == self.pomdp.H - 1:
            return self.observation, reward, True, False, {}
        probabilities = self.pomdp.transitions[self.h, self.hidden_state, action]
        self.hidden_state = int(self.np_random.choice(self.pomdp.S, p=probabilities))
        self.h += 1
        return self._observe(), reward, False, False, {}

    def _observe(self) -> np.int64:
        probabilities = self.pomdp.emissions[self.h, self.hidden_state]
        self.observation = np.int64(self.np_random.choice(self.pomdp.O, p=probabilities))
        return self.observation


def hidden_state(env: gym.Env[Any, Any]) -> Any:
    """The attribute `hidden_state` of the innermost environment."""
    return env.unwrapped.hidden_state


class HindsightObservation(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps everything but observations back until the episode is over.

    Before the end the reward is 0 and ``info`` empty. With the end come the sum of all rewards as
    the reward, and ``info`` with ``hindsight_states`` and ``hindsight_rewards``, one entry an
    action: the state that the action was taken in and what it paid.

    Args:
        env: The environment.
        hidden: Reads the hidden state of `env`; called before every action.
    """

    def __init__(
        self, env: gym.Env[Any, Any], hidden: Callable[[gym.Env[Any, Any]], Any] = hidden_state
    ) -> None:
        super().__init__(env)
        self.hidden = hidden
        self.states: list[Any] = []
        self.rewards: list[float] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observation, _ = self.env.reset(seed=seed, options=options)
        self.states, self.rewards = [], []
        return observation, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.states.append(self.hidden(self.env))
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.rewards.append(float(reward))
        if not (terminated or truncated):
            return observation, 0.0, False, False, {}
        told = {
            **info,
            "hindsight_states": np.array(self.states),
            "hindsight_rewards": np.array(self.rewards),
        }
        return observation, float(np.sum(self.rewards)), terminated, truncated, told


class HistoryObservation(gym.Wrapper[np.ndarray, Any, Any, Any]):
    """The whole history as the observation, for agents without a memory of their own.

    Observation: for each of `H` steps a one-hot observation and the one-hot action that followed,
    zeros for what is still to come, (H (O + A),) float32.

    Args:
        env: Discrete observations and actions.
        H: Steps of an episode.
    """

    def __init__(self, env: gym.Env[Any, Any], H: int) -> None:
        super().__init__(env)
        self.O, self.A = int(env.observation_space.n), int(env.action_space.n)
        self.seen = np.zeros((H, self.O + self.A), np.float32)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (self.seen.size,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self.h = 0
        self.seen = np.zeros_like(self.seen)
        self.seen[0, observation] = 1.0
        return self.seen.flatten(), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.seen[self.h, self.O + action] = 1.0
        self.h += 1
        if self.h < len(self.seen):
            self.seen[self.h, observation] = 1.0
        return self.seen.flatten(), reward, terminated, truncated, info


def make_history(name: str, **fields: Any) -> HistoryObservation:
    """A benchmark POMDP under the protocol, with histories as observations.

    Args:
        name: Of `HINDSIGHT_NAMES`.
        fields: See `make_pomdp`.

    Raises:
        ValueError: See `make_pomdp`.
    """
    pomdp = make_pomdp(name.replace("hindsight/", "pomdp/"), **fields)
    return HistoryObservation(HindsightObservation(POMDPEnv(pomdp)), pomdp.H)


def make_hindsight(name: str, **fields: Any) -> HindsightObservation:
    """A benchmark POMDP under the protocol.

    Args:
        name: Of `POMDP_NAMES`.
        fields: See `make_pomdp`.

    Raises:
        ValueError: See `make_pomdp`.
    """
    return HindsightObservation(POMDPEnv(make_pomdp(name, **fields)))


def play(env: gym.Env[Any, Any], policy: HistoryPolicy, seed: int) -> HindsightEpisode:
    """One episode of a tabular policy under the protocol.

    Args:
        env: An environment of Discrete spaces that keeps to the protocol.
        policy: Action of every history.
        seed: Of the episode.
    """
    A, O = int(env.action_space.n), int(env.observation_space.n)  # noqa: E741
    observations: list[int] = []
    actions: list[int] = []
    done = False
    observation, _ = env.reset(seed=seed)
    history = int(observation)
    while not done:
        observations.append(int(observation))
        actions.append(int(policy[len(actions)][history]))
        observation, total, terminated, truncated, info = env.step(np.int64(actions[-1]))
        history = (history * A + actions[-1]) * O + int(observation)
        done = terminated or truncated
    return HindsightEpisode(
        np.array(observations), np.array(actions), info["hindsight_states"], float(total)
    )
