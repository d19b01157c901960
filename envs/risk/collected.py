"""Gymnasium tasks whose observation tells what was collected so far, as static risk needs.

A policy that maximises a risk measure of the whole return looks at y, the reward collected so far.
`CollectedReturn` appends it to the observation of any environment with a flat one. `GridControl`
plays a grid MDP, whose augmented policies have an exact return distribution. All tasks end after a
fixed number of steps at the latest, and the observation tells how many are gone; `LimitedTime`
makes any environment so.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from tenfold.envs.gymnasium_tasks import make_gymnasium
from tenfold.envs.risk.control import BUILDERS as CONTROLS
from tenfold.envs.risk.control import make_control
from tenfold.envs.risk.names import COLLECTED_NAMES
from tenfold.envs.risk.returns import GridMDP
from tenfold.envs.risk.static_benchmarks import BUILDERS as GRIDS
from tenfold.envs.risk.static_benchmarks import make_static_task


class CollectedReturn(gym.Wrapper[np.ndarray, Any, np.ndarray, Any]):
    """Appends y, the reward collected so far in reward units, to the observation.

    Args:
        env: An environment with a flat box of observations.

    Raises:
        ValueError: The observations are not a flat box.
    """

    def __init__(self, env: gym.Env[np.ndarray, Any]) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise ValueError(
                f"Observations must be a flat box for y to be appended, not {space}: flatten them."
            )
        low, high = np.append(space.low, -np.inf), np.append(space.high, np.inf)
        self.observation_space = gym.spaces.Box(np.float32(low), np.float32(high), dtype=np.float32)

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Start with nothing collected."""
        observation, info = self.env.reset(**kwargs)
        self.collected = 0.0
        return self._augmented(observation), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step; its reward is added to y."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.collected += float(reward)
        return self._augmented(observation), float(reward), terminated, truncated, info

    def _augmented(self, observation: np.ndarray) -> np.ndarray:
        return np.append(observation, self.collected).astype(np.float32)


class LimitedTime(gym.Wrapper[np.ndarray, Any, np.ndarray, Any]):
    """Ends an episode at its limit of steps for good, and appends the share of them that is gone.

    The risk of a return is that of an episode that ends, so its limit is part of the task and not
    a truncation that a learner bootstraps through.

    Args:
        env: An environment with a flat box of observations, that Gymnasium cuts after a limit.

    Raises:
        ValueError: The observations are not a flat box, or there is no limit.
    """

    def __init__(self, env: gym.Env[np.ndarray, Any]) -> None:
        super().__init__(env)
        space, name = env.observation_space, env.spec.id if env.spec else str(env)
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise ValueError(f"Task '{name}' shows {space}, but a flat box of numbers is needed.")
        if env.spec is None or env.spec.max_episode_steps is None:
            raise ValueError(
                f"Task '{name}' has no limit of steps, and the risk of a return needs one: set "
                "env_config.max_episode_steps."
            )
        self.limit = env.spec.max_episode_steps
        low, high = np.append(space.low, 0.0), np.append(space.high, 1.0)
        self.observation_space = gym.spaces.Box(np.float32(low), np.float32(high), dtype=np.float32)

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Start at step 0."""
        observation, info = self.env.reset(**kwargs)
        self.steps = 0
        return self._timed(observation), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step; at the limit the episode is over."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        return self._timed(observation), float(reward), terminated or truncated, False, info

    def _timed(self, observation: np.ndarray) -> np.ndarray:
        return np.append(observation, self.steps / self.limit).astype(np.float32)


class GridControl(gym.Env[np.ndarray, np.int64]):
    """A grid MDP as an environment that networks can play.

    Observation: one-hot state, then one-hot step (all zero at the end), (S + H,) float32. Action:
    Discrete(A). An episode terminates after H steps.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, mdp: GridMDP) -> None:
        self.mdp = mdp
        self._seen = one_hot(mdp)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (mdp.S + mdp.H,), np.float32)
        self.action_space = gym.spaces.Discrete(mdp.A)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.h, self.state = 0, self.mdp.initial
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        place = (self.h, self.state, int(action))
        o = self.np_random.choice(self.mdp.probabilities.shape[3], p=self.mdp.probabilities[place])
        reward = float(self.mdp.step * self.mdp.rewards[place][o])
        self.state = int(self.mdp.nexts[place][o])
        self.h += 1
        return self._observation(), reward, self.h == self.mdp.H, False, {}

    def _observation(self) -> np.ndarray:
        shown: np.ndarray = self._seen[self.h, self.state]
        return shown


def one_hot(mdp: GridMDP) -> np.ndarray:
    """What `GridControl` shows at each step and state, (H + 1, S, S + H) float32."""
    H, S = mdp.H, mdp.S
    seen = np.zeros((H + 1, S, S + H), np.float32)
    seen[:, np.arange(S), np.arange(S)] = 1.0
    seen[np.arange(H), :, S + np.arange(H)] = 1.0
    return seen


def all_observations(mdp: GridMDP) -> np.ndarray:
    """What `CollectedReturn(GridControl(mdp))` shows before each action, (H, S, Y, S + H + 1):
    a policy's table in one call."""
    plain = np.repeat(one_hot(mdp)[: mdp.H, :, None], mdp.Y, axis=2)
    y = np.broadcast_to(mdp.returns[:, None], (*plain.shape[:-1], 1))
    return np.concatenate([plain, y], axis=-1, dtype=np.float32)


# What each task is made by; the signature (without `alpha`) says what a task takes.
BUILDERS: dict[str, Callable[..., Any]] = {
    name: GRIDS.get(name.replace("collected/", "static/"))
    or CONTROLS[name.replace("collected/", "risk/")]
    for name in COLLECTED_NAMES
}


def make_collected(name: str, **fields: Any) -> CollectedReturn:
    """A task by its name.

    Args:
        name: One of `COLLECTED_NAMES`: a task of `static_benchmarks` or of `control` with y.
        **fields: Arguments of its builder that differ from its defaults, of the types and within
            the bounds that its signature says.

    Raises:
        ValueError: No such task, or fields that together do not make an environment.
    """
    if name not in BUILDERS:
        raise ValueError(f"No task '{name}': choose one of {', '.join(BUILDERS)}.")
    static = name.replace("collected/", "static/")
    if static in GRIDS:
        return CollectedReturn(GridControl(make_static_task(static, **fields)))
    return CollectedReturn(make_control(name.replace("collected/", "risk/"), **fields))


def make_limited(task: str, **fields: Any) -> CollectedReturn:
    """Any Gymnasium environment as such a task, with the share of time that is gone and y.

    Args:
        task: Its id, see `make_gymnasium`.
        **fields: Arguments of `gymnasium.make`.

    Raises:
        ValueError: It cannot be made, its observations are images, or it has no limit of steps.
    """
    return CollectedReturn(LimitedTime(make_gymnasium(task, **fields)))
