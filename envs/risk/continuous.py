"""Tasks with continuous actions on which caution costs some reward.

Their names (`CONTINUOUS_NAMES`) stand for the task with the reward collected so far in the
observation. The tasks themselves are registered in Gymnasium under `Trading-v0` and `SpeedLimit-v0`
for methods that are not averse to risk: ``--task tenfold.envs.risk.continuous:Trading-v0``.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from tenfold.envs.risk.collected import CollectedReturn, LimitedTime
from tenfold.envs.risk.names import CONTINUOUS_NAMES
from tenfold.envs.risk.speed_limit import SpeedLimit, speed_limit
from tenfold.envs.risk.trading import Trading

gym.register("Trading-v0", entry_point="tenfold.envs.risk.trading:Trading")
gym.register("SpeedLimit-v0", entry_point="tenfold.envs.risk.speed_limit:speed_limit")

# What each task is made by; the signature says what a task takes.
BUILDERS: dict[str, Callable[..., gym.Env[np.ndarray, Any]]] = dict(
    zip(CONTINUOUS_NAMES, (Trading, speed_limit), strict=True)
)


def make_continuous(name: str, **fields: Any) -> CollectedReturn:
    """A task by its name, with the share of the time that is gone and y in the observation.

    Args:
        name: One of `CONTINUOUS_NAMES`.
        **fields: Arguments of its builder that differ from its defaults, of the types and within
            the bounds that its signature says.

    Raises:
        ValueError: No such task.
    """
    if name not in BUILDERS:
        raise ValueError(f"No task '{name}': choose one of {', '.join(BUILDERS)}.")
    env = BUILDERS[name](**fields)
    return CollectedReturn(LimitedTime(env) if isinstance(env, SpeedLimit) else env)
