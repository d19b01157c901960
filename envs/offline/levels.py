"""Who acts in a data set of a level: scripted policies whose knobs were set by return.

The targets are the returns of the published sets (og-marl's card of OMAR's data): spread random
159.6, medium-replay 203.7, medium 273.4, expert 531.0; tag -4.1, 3.9, 116.4, 207.9; world -6.8,
1.2, 65.9, 85.2. `random` acts uniformly; `medium` is a poor policy with some noise, not a good one
with much, so that what it does on average is poor too; `medium-replay` goes from random to medium
in the course of the data, as a replay buffer does; a mixture is 90 % of the lower level and 10 % of
the higher one.
"""

from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from tenfold.envs.modes import ModesGame, ModesPlayers
from tenfold.envs.mpe.controllers import Controller, Skill
from tenfold.envs.offline.cheetah import CheetahPolicy
from tenfold.envs.offline.environments import BatchedEnvironments
from tenfold.envs.offline.names import CHEETAH, MODES

SKILLS = {
    "mpe/spread": {
        "expert": Skill("assigned", gain=2.0, damping=0.3, noise=0.3),
        "medium": Skill("nearest", gain=0.43, damping=0.3, noise=0.3),
    },
    "mpe/tag": {
        "expert": Skill("prey", gain=8.0, damping=0.05, noise=0.05),
        "medium": Skill("prey", gain=1.5, damping=0.05, noise=0.05),
    },
    "mpe/world": {
        "expert": Skill("prey", gain=8.0, damping=0.05, noise=0.05),
        "medium": Skill("prey", gain=1.95, damping=0.05, noise=0.05),
    },
    "mpe/six_landmarks": {
        "expert": Skill("drawn", gain=2.0, damping=0.3, noise=0.1),
        "medium": Skill("drawn", gain=0.7, damping=0.3, noise=0.2),
    },
}
REPLAY_POWERS = {"mpe/tag": 7, "mpe/world": 4}
MODES_NOISE = 0.05
MIXTURES = {
    "random-medium": (("random", 0.9), ("medium", 0.1)),
    "medium-expert": (("medium", 0.9), ("expert", 0.1)),
}


def replay_shares(environment: str, progress: np.ndarray) -> np.ndarray:
    """How much of medium's skill is there in the course of `medium-replay`.

    Args:
        environment: Id of the environment.
        progress: Which part of the data was there before, in [0, 1].

    Returns:
        Shares of the steps that are not random; those of tag and world grow late, as in the
        published sets, whose mean returns are hardly above random's.
    """
    shares: np.ndarray = progress ** REPLAY_POWERS.get(environment, 1)
    return shares


class Behaviour(Protocol):
    """What acts in W environments; see `Controller`."""

    def begin(self, count: int, share: np.ndarray | None = None) -> None:
        """Begin an episode; `share` (W,) is how many of an environment's steps are not random."""

    def act(self, seen: np.ndarray) -> np.ndarray:
        """Actions float32 (W, n, m) for observations (W, n, o)."""

    def about(self) -> dict[str, Any]:
        """What acted, for a data card."""


def make_behaviour(
    environment: str, level: str, environments: BatchedEnvironments, seed: Any
) -> Behaviour:
    """The policy of a level that is not a mixture; `medium-replay` has medium's.

    Args:
        environment: Id of the environment.
        level: ``random``, ``medium``, ``medium-replay`` or ``expert``.
        environments: Where it acts.
        seed: As `numpy.random.default_rng` takes it.
    """
    quality = "expert" if level == "expert" else "medium"
    exploration = 1.0 if level == "random" else 0.0
    if environment == CHEETAH:
        return CheetahPolicy(quality, exploration, seed)
    if environment in MODES:
        assert isinstance(environments, ModesGame)
        return ModesPlayers(environments, MODES_NOISE, exploration, seed)
    skill = replace(SKILLS[environment][quality], exploration=exploration)
    return Controller(environments.task, skill, seed)
