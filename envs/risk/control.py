"""Gymnasium tasks on which caution costs some reward, for agents that learn by deep networks.

`TableEnv` plays a tabular task of `benchmarks` (windy cliff, risky shortcut, slippery ice, queue
backlog): short and dangerous beside long and safe, with an exact optimum for every risk measure to
compare with. `CurvyRoad` is continuous: fast driving pays and now and then skids. `ThinIce` is a
grid world. All tell in the observation how much of their limited time is gone, so they are to be
played with a discount of 1.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import gymnasium as gym
import numpy as np
from pydantic import Field

from tenfold.envs.risk.benchmarks import BUILDERS as TABLES
from tenfold.envs.risk.benchmarks import make_task
from tenfold.envs.risk.fields import Steps
from tenfold.envs.risk.names import CONTROL_NAMES
from tenfold.envs.risk.thin_ice import ThinIce


class TableEnv(gym.Env[np.ndarray, np.int64]):
    """A tabular finite-horizon MDP as a Gymnasium environment.

    Observation: one-hot state, then one-hot step (all zero at the end), (S + H,) float32. Action:
    Discrete(A). Reward: r_h(s, a) in [0, 1]. An episode terminates after H steps. ``info`` holds
    the state as an int.

    Args:
        task: Name of a tabular task, such as ``mdp/WindyCliff-v0``.
        alpha: Risk level that `mdp/LowerBound-v0` is built for; the others do not read it.
        **fields: Fields of the task that differ from its defaults.

    Raises:
        ValueError: See `make_task`.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, task: str, alpha: float = 1.0, **fields: Any) -> None:
        self.mdp = make_task(task, alpha, **fields).mdp
        size = self.mdp.S + self.mdp.H
        self.observation_space = gym.spaces.Box(0.0, 1.0, (size,), np.float32)
        self.action_space = gym.spaces.Discrete(self.mdp.A)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.choice(self.mdp.S, p=self.mdp.initial))
        self.h = 0
        return self.observe(self.h, self.state), {"state": self.state}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward = float(self.mdp.rewards[self.h, self.state, action])
        probabilities = self.mdp.transitions[self.h, self.state, action]
        self.state = int(self.np_random.choice(self.mdp.S, p=probabilities))
        self.h += 1
        done = self.h == self.mdp.H
        return self.observe(self.h, self.state), reward, done, False, {"state": self.state}

    def observe(self, h: int, state: int) -> np.ndarray:
        """What an agent sees in a state at step h (counted from 0), (S + H,) float32."""
        seen = np.zeros(self.mdp.S + self.mdp.H, np.float32)
        seen[state] = 1.0
        if h < self.mdp.H:
            seen[self.mdp.S + h] = 1.0
        return seen

    def observations(self) -> np.ndarray:
        """The observations of all steps and states, (H, S, S + H): a policy's table in one call."""
        return np.array(
            [[self.observe(h, s) for s in range(self.mdp.S)] for h in range(self.mdp.H)]
        )


class CurvyRoad(gym.Env[np.ndarray, np.int64]):
    """Drive a winding loop for a fixed time; above the speed that a curve allows the car may skid.

    With position x in [0, 1) and speed v in [0, 1], actions 0 brake, 1 hold, 2 accelerate:

        v <- clip(v + (-0.2, 0, 0.1)[action], 0, 1),   x <- x + 0.05 v mod 1
        reward = v - cost * Bernoulli(p),   p = min(steepness (v - safe(x))^+, most)
        safe(x) = 0.6 + 0.2 cos(2 pi x)

    A skid costs and changes nothing else. So the movement is deterministic given the start, and the
    iterated CVaR of a policy is the sum over its steps of v - cost min(p / alpha, 1), exactly; with
    the defaults p / alpha decides whether full speed pays (alpha = 1) or not (alpha <= 0.3).

    Observation: cos 2 pi x, sin 2 pi x, v, share of the time gone, (4,) float32. Start: x uniform,
    v = 0. An episode terminates after T steps. ``info`` of a step holds ``skid_probability``.

    The signature says what each field is and within which bounds.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    PUSHES = (-0.2, 0.0, 0.1)

    def __init__(
        self,
        T: Steps = 40,
        cost: Annotated[float, Field(gt=0, le=1e6, description="What a skid costs")] = 2.0,
        steepness: Annotated[
            float, Field(gt=0, le=1e6, description="Growth of a skid's chance with excess speed")
        ] = 0.5,
        most: Annotated[float, Field(gt=0, le=1, description="Largest chance of a skid")] = 0.1,
    ) -> None:
        self.T, self.cost, self.steepness, self.most = T, cost, steepness, most
        self.observation_space = gym.spaces.Box(
            np.array([-1.0, -1.0, 0.0, 0.0], np.float32), np.ones(4, np.float32)
        )
        self.action_space = gym.spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.v, self.t = float(self.np_random.random()), 0.0, 0
        return self._observation(), {"skid_probability": 0.0}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.v = min(max(self.v + self.PUSHES[int(action)], 0.0), 1.0)
        self.x = (self.x + 0.05 * self.v) % 1.0
        self.t += 1
        p = self.skid_probability()
        reward = self.v - self.cost * float(self.np_random.random() < p)
        return self._observation(), reward, self.t >= self.T, False, {"skid_probability": p}

    def cvar_of_step(self, alpha: float) -> float:
        """CVaR at level `alpha` of what the last step paid, given where it led."""
        return self.v - self.cost * min(self.skid_probability() / alpha, 1.0)

    def skid_probability(self) -> float:
        """At the present place and speed."""
        safe = 0.6 + 0.2 * math.cos(2.0 * math.pi * self.x)
        return min(self.steepness * max(self.v - safe, 0.0), self.most)

    def _observation(self) -> np.ndarray:
        angle = 2.0 * math.pi * self.x
        seen = (math.cos(angle), math.sin(angle), self.v, self.t / self.T)
        return np.array(seen, np.float32)


# Tasks that are no tables.
WORLDS: dict[str, Callable[..., gym.Env[np.ndarray, np.int64]]] = {
    "risk/CurvyRoad-v0": CurvyRoad,
    "risk/ThinIce-v0": ThinIce,
}
# What each task is made by; the signature (without `alpha`) says what a task takes.
BUILDERS: dict[str, Callable[..., Any]] = {
    name: WORLDS.get(name) or TABLES[name.replace("risk/", "mdp/")] for name in CONTROL_NAMES
}


def make_control(name: str, **fields: Any) -> gym.Env[np.ndarray, np.int64]:
    """A control task by its name.

    Args:
        name: One of `CONTROL_NAMES`.
        **fields: Arguments of its builder that differ from its defaults, of the types and within
            the bounds that its signature says.

    Raises:
        ValueError: No such task, or fields that together do not make an environment.
    """
    if name not in BUILDERS:
        raise ValueError(f"No task '{name}': choose one of {', '.join(BUILDERS)}.")
    if name in WORLDS:
        return WORLDS[name](**fields)
    return TableEnv(name.replace("risk/", "mdp/"), **fields)
