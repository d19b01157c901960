"""What the agent plays: tables with histories, partly hidden worlds, and any Gymnasium id.

With `memory` = "history" an observation holds the steps so far (of tables all, of others the last
`history_steps`), with "gru" the last step alone: what was seen, and the action before it.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import DtypeObservation, FlattenObservation

from tenfold.envs.gymnasium_tasks import make_gymnasium
from tenfold.envs.risk.collected import LimitedTime
from tenfold.envs.risk.hindsight import HindsightObservation, make_hindsight, make_history
from tenfold.envs.risk.names import HINDSIGHT_NAMES
from tenfold.envs.risk.partial import BUILDERS, PreviousAction, RecentHistory


def make_task(
    task: str, memory: str = "history", history_steps: int = 1, **fields: Any
) -> gym.Env[np.ndarray, Any]:
    """A task as an agent of a kind of memory sees it; all end at a limit of steps for good.

    An environment with a `hidden_state` (an int below its `hidden_states`) reveals it, and what
    its steps paid, when an episode is over, as tables do. Of others nothing is revealed.

    Args:
        task: Of `HINDSIGHT_NAMES` or `PARTIAL_NAMES`, or a Gymnasium id.
        memory: "history" or "gru".
        history_steps: Steps of a history that is not a table's.
        **fields: What `env_config` holds.

    Raises:
        ValueError: It cannot be made, or its observations are no numbers, or it has no limit.
    """
    if task in HINDSIGHT_NAMES:
        if memory == "history":
            return make_history(task, **fields)
        table = make_hindsight(task.replace("hindsight/", "pomdp/"), **fields)
        return PreviousAction(DtypeObservation(FlattenObservation(table), np.float32))
    env = (
        BUILDERS[task](**fields)
        if task in BUILDERS
        else LimitedTime(make_gymnasium(task, **fields))
    )
    if hidden_states(env):
        env = TuplesAtTheEnd(HindsightObservation(env))
    env = PreviousAction(env)
    return env if memory == "gru" else RecentHistory(env, history_steps)


class TuplesAtTheEnd(gym.Wrapper[Any, Any, Any, Any]):
    """What hindsight tells as tuples, since Gymnasium's vectors of environments stack arrays, which
    episodes of different lengths that end together do not let them."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step; arrays of `info` become tuples."""
        *seen, info = self.env.step(action)
        told = {
            key: tuple(value) if isinstance(value, np.ndarray) else value
            for key, value in info.items()
        }
        return *seen, told


def hidden_states(env: gym.Env[Any, Any]) -> int:
    """How many hidden states there are, 0 if they are not revealed."""
    inner: Any = env.unwrapped
    return int(inner.pomdp.S if hasattr(inner, "pomdp") else getattr(inner, "hidden_states", 0))


def longest_episode(env: gym.Env[Any, Any]) -> int:
    """Steps after which an episode is over."""
    inner: Any = env.unwrapped
    if hasattr(inner, "pomdp"):
        return int(inner.pomdp.H)
    return int(env.get_wrapper_attr("limit") if env.has_wrapper_attr("limit") else inner.T)
