"""Tasks with something hidden that are no tables, and what an agent sees of any such task.

`PreviousAction` is what a recurrent network needs to see of a step, `RecentHistory` what a network
without a memory does: the last steps at once. Both wrap any environment with a flat box of
observations and discrete actions.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from tenfold.envs.risk.foggy_road import FoggyRoad
from tenfold.envs.risk.names import PARTIAL_NAMES
from tenfold.envs.risk.thin_ice import ThinIce


class PreviousAction(gym.Wrapper[np.ndarray, Any, np.ndarray, Any]):
    """Appends the action that led to an observation, one-hot; zeros at the start.

    Observation: (n + A,) float32 of an environment's (n,).

    Args:
        env: A flat box of observations and Discrete(A) actions.

    Raises:
        ValueError: The actions are others.
    """

    def __init__(self, env: gym.Env[np.ndarray, Any]) -> None:
        super().__init__(env)
        space, actions = env.observation_space, env.action_space
        if not isinstance(actions, gym.spaces.Discrete):
            raise ValueError(f"Actions must be discrete to be remembered, not {actions!s:.80}.")
        self.actions = int(actions.n)
        low = np.append(space.low, np.zeros(self.actions))
        high = np.append(space.high, np.ones(self.actions))
        self.observation_space = gym.spaces.Box(np.float32(low), np.float32(high))

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Start after no action."""
        observation, info = self.env.reset(**kwargs)
        return np.append(observation, np.zeros(self.actions)).astype(np.float32), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """One step; the next observation tells of its action."""
        observation, *rest = self.env.step(action)
        taken = np.eye(self.actions)[int(action)]
        return np.append(observation, taken).astype(np.float32), *rest


class RecentHistory(gym.Wrapper[np.ndarray, Any, np.ndarray, Any]):
    """The last observations at once, the newest last; zeros for those before the start.

    Observation: (steps n,) float32 of an environment's (n,).

    Args:
        env: A flat box of observations.
        steps: Observations that are shown.
    """

    def __init__(self, env: gym.Env[np.ndarray, Any], steps: int) -> None:
        super().__init__(env)
        space = env.observation_space
        self.seen = np.zeros((steps, space.shape[0]), np.float32)
        low, high = np.minimum(space.low, 0.0), np.maximum(space.high, 0.0)
        self.observation_space = gym.spaces.Box(np.tile(low, steps), np.tile(high, steps))

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Start with one observation."""
        observation, info = self.env.reset(**kwargs)
        self.seen = np.zeros_like(self.seen)
        return self._with(observation), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """One step; the oldest observation is forgotten."""
        observation, *rest = self.env.step(action)
        return self._with(observation), *rest

    def _with(self, observation: np.ndarray) -> np.ndarray:
        self.seen = np.roll(self.seen, -1, axis=0)
        self.seen[-1] = observation
        return self.seen.flatten()


# What each task is made by; the signature says what a task takes.
_THIN_ICE = partial(ThinIce, hint="start")
_THIN_ICE.__name__ = ThinIce.__name__  # type: ignore[attr-defined]
BUILDERS: dict[str, Callable[..., gym.Env[np.ndarray, Any]]] = dict(
    zip(PARTIAL_NAMES, (_THIN_ICE, FoggyRoad), strict=True)
)
