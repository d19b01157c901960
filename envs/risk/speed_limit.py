"""MuJoCo's runners with fines for speeding: fast pays on average, and badly now and then.

In the manner of risk-averse offline reinforcement learning (Urpi, Curi and Krause,
arXiv:2102.05371, HalfCheetah with a random penalty above a velocity); there the penalty is one
number, here it grows with the excess, so that the trade-off does not depend on how fast an agent
has learnt to run.
"""

from typing import Annotated, Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from pydantic import Field

from tenfold.envs.risk.fields import Share, Steps


class SpeedLimit(
    gym.Wrapper[np.ndarray, np.ndarray, np.ndarray, np.ndarray], RecordConstructorArgs
):
    """Fines for a robot that runs along x.

        reward = the robot's own - fine (v - limit)^+ Bernoulli(chance)

    v is its speed along x in the step, in m/s. Where chance * fine is below 1 a faster run has the
    larger mean, for the robots' own reward has the speed as a summand. Fines of a return with few
    of them are far from their mean, so caution keeps to the limit.

    Observation and action are the robot's. ``info`` is the robot's, ``x_velocity`` among it, and
    ``fined``, whether this step was.

    Args:
        env: A robot whose ``info`` tells ``x_velocity``.
        limit: Speed above which fines threaten, m/s.
        chance: Probability of a fine in such a step.
        fine: What it costs for each m/s above the limit.
    """

    def __init__(
        self, env: gym.Env[np.ndarray, np.ndarray], limit: float, chance: float, fine: float
    ) -> None:
        RecordConstructorArgs.__init__(self, limit=limit, chance=chance, fine=fine)
        gym.Wrapper.__init__(self, env)
        self.limit, self.chance, self.fine = limit, chance, fine

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step; the draw is made at any speed, so that equal seeds meet equal luck."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        excess = max(float(info["x_velocity"]) - self.limit, 0.0)
        fined = bool(self.np_random.random() < self.chance) and excess > 0.0
        paid = float(reward) - self.fine * excess * fined
        return observation, paid, terminated, truncated, {**info, "fined": fined}


def speed_limit(
    robot: Annotated[
        Literal["HalfCheetah", "Hopper", "Walker2d", "Swimmer", "Ant"],
        Field(description="Which of Gymnasium's robots runs"),
    ] = "HalfCheetah",
    T: Steps = 50,
    limit: Annotated[
        float, Field(ge=0, le=1e6, description="Speed above which fines threaten, m/s")
    ] = 0.5,
    chance: Annotated[Share, Field(description="Probability of a fine in such a step")] = 0.05,
    fine: Annotated[
        float, Field(ge=0, le=1e6, description="What a fine costs for each m/s above the limit")
    ] = 14.0,
    render_mode: Annotated[
        Literal["rgb_array"] | None, Field(description="Draw pictures, for videos")
    ] = None,
) -> SpeedLimit:
    """A robot of Gymnasium with a `SpeedLimit`; it is cut after T steps, and may end before as the
    robot's own does."""
    env = gym.make(f"{robot}-v5", max_episode_steps=T, render_mode=render_mode)
    return SpeedLimit(env, limit, chance, fine)
