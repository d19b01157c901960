"""Batched environments that data come from and policies are evaluated in, by the id in a card."""

from typing import Any, Protocol

import numpy as np

from tenfold.envs.mamujoco import CheetahEnvironments, CheetahFields
from tenfold.envs.modes import ModesFields, ModesGame
from tenfold.envs.mpe.fields import WorldFields
from tenfold.envs.mpe.worlds import ParticleWorlds
from tenfold.envs.offline.names import CHEETAH, ENVIRONMENTS, MODES
from tenfold.platform.parameters import Parameters


class BatchedEnvironments(Protocol):
    """W environments of n agents that begin and end together; see `ParticleWorlds`."""

    task: str
    count: int
    agents: tuple[str, ...]
    observation_sizes: tuple[int, ...]
    action_size: int
    episode_steps: int

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Begin an episode; observations float32 (W, n, o)."""

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """Observations (W, n, o), rewards (W, n) and whether the episodes are over."""


def make_environments(
    environment: str, count: int, seed: int, **fields: Any
) -> BatchedEnvironments:
    """W environments of an id.

    Args:
        environment: See `names.ENVIRONMENTS`.
        count: How many, W.
        seed: Of all that is random in them.
        **fields: See `fields_of`.

    Raises:
        ValueError: There is no such environment or field, or a value is not valid.
    """
    fields_of(environment)
    name = environment.partition("/")[2]
    if environment == CHEETAH:
        return CheetahEnvironments(count, seed, **fields)
    if environment in MODES:
        return ModesGame(name, count, seed, **fields)
    return ParticleWorlds(name, count, seed, **fields)


def fields_of(environment: str) -> type[Parameters]:
    """What an environment takes.

    Raises:
        ValueError: There is no such environment.
    """
    if environment not in ENVIRONMENTS:
        raise ValueError(
            f"No environment '{environment}' to act in: choose one of {', '.join(ENVIRONMENTS)}."
        )
    if environment == CHEETAH:
        return CheetahFields
    return ModesFields if environment in MODES else WorldFields


def simulator_of(environment: str, **fields: Any) -> dict[str, Any]:
    """Physics order and reward of an environment as a data card tells them."""
    if fields_of(environment) is not WorldFields:
        return {"physics_order": "none", "reward": "none"}
    told = WorldFields(**fields)
    return {"physics_order": told.physics_order, "reward": told.reward}
