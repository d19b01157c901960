"""Any Gymnasium environment as a task: made by its id, with observations that networks take."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import (
    DtypeObservation,
    FilterObservation,
    FlattenObservation,
    TransformObservation,
)


def make_gymnasium(task: str, **fields: Any) -> gym.Env[np.ndarray, Any]:
    """An environment by its id, ``Taxi-v3`` or ``my_package:MyEnv-v0``.

    Observations become a flat box or an image: discrete ones one-hot, nested and square ones
    flattened, bytes of an image scaled to [0, 1], whole numbers as float32. Texts in a dictionary,
    as the mission of a MiniGrid world, are left out.

    Args:
        task: The id; the module before a colon is imported first, so that it can register it.
        **fields: Arguments of `gymnasium.make`: the environment's own, and `max_episode_steps`.

    Raises:
        ValueError: There is no such environment, it cannot be made, or its observations are not
            ones that networks take.
    """
    try:
        env = gym.make(task, **{"disable_env_checker": True, **fields})
    except Exception as error:  # whatever an environment's own constructor raises
        given = f" with env_config {fields}" if fields else ""
        raise ValueError(
            f"Task '{task}' cannot be made{given}: {' '.join(str(error).split()).rstrip('.')}."
        ) from None
    space = env.observation_space
    if isinstance(space, spaces.Dict):
        kept = [key for key, part in space.items() if not _is_text(part)]
        if kept and len(kept) < len(space):
            env = FilterObservation(env, kept)
            space = env.observation_space
    if isinstance(space, spaces.Box) and len(space.shape) == 3:
        if space.dtype != np.uint8:
            return env
        scaled = spaces.Box(0.0, 1.0, space.shape, np.float32)
        return TransformObservation(env, lambda seen: np.float32(seen) / 255.0, scaled)
    if not _is_numeric(space):
        raise ValueError(
            f"Task '{task}' has the observations {space!s:.80}, of which a network takes numbers "
            "only: choose another task, or wrap it."
        )
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        env = FlattenObservation(env)
    if not np.issubdtype(env.observation_space.dtype, np.floating):
        env = DtypeObservation(env, np.float32)
    return env


def _is_text(space: spaces.Space[Any]) -> bool:
    return space.dtype is not None and space.dtype.kind == "U"


def _is_numeric(space: spaces.Space[Any]) -> bool:
    if isinstance(space, spaces.Dict):
        return all(map(_is_numeric, space.values()))
    if isinstance(space, spaces.Tuple):
        return all(map(_is_numeric, space))
    return isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    )
