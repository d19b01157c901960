"""Gymnasium views: a grid MDP as an environment, and the wrapper that adds y to the observation."""

from typing import Any

import gymnasium as gym
import numpy as np

from tenfold.envs.risk.returns import GridMDP


class GridMDPEnv(gym.Env[int, int]):
    """A grid MDP; the observation is the state, an episode is truncated after H steps."""

    def __init__(self, mdp: GridMDP) -> None:
        self.mdp = mdp
        self.observation_space: gym.Space[Any] = gym.spaces.Discrete(mdp.S)
        self.action_space: gym.Space[Any] = gym.spaces.Discrete(mdp.A)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Go to the first state."""
        super().reset(seed=seed)
        self.h, self.state = 0, self.mdp.initial
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """One step of the MDP."""
        place = (self.h, self.state, int(action))
        o = self.np_random.choice(self.mdp.probabilities.shape[3], p=self.mdp.probabilities[place])
        reward = float(self.mdp.step * self.mdp.rewards[place][o])
        self.state = int(self.mdp.nexts[place][o])
        self.h += 1
        return self.state, reward, False, self.h == self.mdp.H, {}


class CollectedReward(gym.Wrapper[dict[str, Any], Any, Any, Any]):
    """Adds what static risk needs: y, the reward collected so far in grid steps, and the step h.

    Args:
        env: Any environment.
        grid_step: Reward of one grid step; y is rounded to the nearest and cut at the ends.
        most: The largest y.
        horizon: Steps of an episode.

    Raises:
        ValueError: `grid_step` is not positive.
    """

    def __init__(self, env: gym.Env[Any, Any], grid_step: float, most: int, horizon: int) -> None:
        super().__init__(env)
        if not grid_step > 0.0:
            raise ValueError(f"Bad value {grid_step} for 'grid_step': give a number above 0.")
        self.grid_step, self.most, self.horizon = grid_step, most, horizon
        self.observation_space = gym.spaces.Dict(
            {
                "observation": env.observation_space,
                "collected": gym.spaces.Discrete(most + 1),
                "step": gym.spaces.Discrete(horizon + 1),
            }
        )

    def reset(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start with nothing collected."""
        observation, info = self.env.reset(**kwargs)
        self.total, self.h = 0.0, 0
        return self._augmented(observation), info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One step; its reward is added to y."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.total += float(reward)
        self.h = min(self.h + 1, self.horizon)
        return self._augmented(observation), float(reward), terminated, truncated, info

    def _augmented(self, observation: Any) -> dict[str, Any]:
        y = int(np.clip(np.rint(self.total / self.grid_step), 0, self.most))
        return {"observation": observation, "collected": y, "step": self.h}


def action(policy: np.ndarray, observation: dict[str, Any]) -> int:
    """The action of an augmented policy (H, S, Y) for an observation of `CollectedReward`."""
    return int(policy[observation["step"], observation["observation"], observation["collected"]])
