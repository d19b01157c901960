"""A Gymnasium view of a grid MDP whose observation is the state alone."""

from typing import Any

import gymnasium as gym

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
