"""Learners with exact regret that keep a policy until the episodes have grown by a share.

Planning anew before every episode changes little once there are many of them. A policy that is
still to be played is part of the memory, so a resumed run is the straight one.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.algorithms.common.regret import Policy, RegretAlgorithm, RegretConfig
from tenfold.platform.parameters import parameter


class ReplanningConfig(RegretConfig):
    """Config of such a learner."""

    class Parameters(RegretConfig.Parameters):
        """How long a policy is kept; the rest is in `RegretConfig`."""

        replan_share: float = parameter(
            0.0,
            "Growth of the episodes until the policy is planned anew; 0: each time",
            ge=0,
            le=1e3,
        )


class ReplanningAlgorithm(RegretAlgorithm):
    """Plan, play some episodes, learn; see `RegretAlgorithm`."""

    config: ReplanningConfig

    @abstractmethod
    def policy_of(self, arrays: Sequence[np.ndarray]) -> Policy:
        """The policy that these arrays are the entries of."""

    def initialise(self) -> None:
        self.next_planning = 0
        super().initialise()

    def due(self) -> bool:
        if self.episodes < self.next_planning:
            return False
        self.next_planning = next_planning(self.episodes, self.config.replan_share)
        return True

    def get_plan(self) -> dict[str, Any]:
        kept = self.policy if self.episodes < self.next_planning else ()
        arrays = {f"policy/{place}": array for place, array in enumerate(kept)}
        return {**super().get_plan(), "next_plan": self.next_planning, **arrays}

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        super().set_plan(plan)
        self.next_planning = plan.get("next_plan", 0)
        count = sum(key.startswith("policy/") for key in plan)
        if count:
            self.follow(self.policy_of([plan[f"policy/{place}"] for place in range(count)]))
        else:  # none is kept: earlier versions say otherwise
            self.next_planning = min(self.next_planning, self.episodes)


def next_planning(episodes: int, share: float) -> int:
    """The episode before which a policy planned after so many episodes is replaced."""
    return max(episodes + 1, math.ceil(episodes * (1.0 + share)))
