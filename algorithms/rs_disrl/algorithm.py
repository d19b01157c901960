"""RS-DisRL as an RLlib algorithm; a plan is kept until the episodes have grown by a share."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tenfold.algorithms.regret import RegretAlgorithm
from tenfold.algorithms.rs_disrl.config import RSDisRLConfig
from tenfold.algorithms.rs_disrl.learners import Counting, make_learner
from tenfold.algorithms.rs_disrl.planner import StaticPlanner


class RSDisRLAlgorithm(RegretAlgorithm):
    """Plan, play, count; policies are arrays (H, S, Y). The optimum is the planner's."""

    config: RSDisRLConfig

    learner: Counting

    @classmethod
    def get_default_config(cls) -> RSDisRLConfig:
        return RSDisRLConfig()

    def set_up(self) -> None:
        self.mdp = self.config.world()
        self.rho = self.config.measure()
        self.learner = make_learner(self.config, self.mdp)
        self.optimum = np.array([StaticPlanner(self.mdp).solve(self.rho).value])
        self.next_plan = 0

    def plan(self, rng: np.random.Generator) -> np.ndarray:
        return self.learner.plan(rng).policy

    def due(self) -> bool:
        if self.episodes < self.next_plan:
            return False
        self.next_plan = next_plan(self.episodes, self.config.replan_share)
        return True

    def judge(self, policy: np.ndarray) -> np.ndarray:
        return np.array([self.mdp.risk(self.rho, policy)])

    def expected_return(self, policy: np.ndarray) -> float:
        return float(self.mdp.returns @ self.mdp.law(policy))

    def get_plan(self) -> dict[str, Any]:
        return {**super().get_plan(), "next_plan": self.next_plan, "policy": self.policy}

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        super().set_plan(plan)
        self.next_plan = plan["next_plan"]
        self.follow(plan["policy"])


def next_plan(episodes: int, share: float) -> int:
    """The episode before which a plan made after so many episodes is replaced."""
    return max(episodes + 1, math.ceil(episodes * (1.0 + share)))
