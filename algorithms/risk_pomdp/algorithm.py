"""Risk-sensitive learning with hindsight as an RLlib algorithm.

Runners give the hidden states of an episode back with its end; the algorithm counts and plans.
"""

import numpy as np

from tenfold.algorithms.regret import RegretAlgorithm
from tenfold.algorithms.risk_pomdp.beta import best_plan, evaluate
from tenfold.algorithms.risk_pomdp.config import RiskPOMDPConfig
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.envs.risk.pomdp import HistoryPolicy

RISK_NEUTRAL = 1e-6


class RiskPOMDP(RegretAlgorithm):
    """Plan, play, look back; policies are those of histories, see `HistoryPolicy`."""

    config: RiskPOMDPConfig

    learner: HindsightLearner

    @classmethod
    def get_default_config(cls) -> RiskPOMDPConfig:
        return RiskPOMDPConfig()

    def set_up(self) -> None:
        config = self.config
        self.truth = config.world()
        self.optimum = np.array([best_plan(self.truth, config.gamma_risk).value])
        self.learner = HindsightLearner(
            self.truth.rewards,
            self.truth.O,
            config.risk(),
            config.bonus_scale,
            config.delta,
            config.episodes,
        )

    def plan(self, rng: np.random.Generator) -> HistoryPolicy:
        if self.config.learner == "oracle":
            return best_plan(self.truth, self.config.risk()).policy
        if self.config.learner == "uniform":
            O, A = self.truth.O, self.truth.A  # noqa: E741
            return [rng.integers(A, size=O * (A * O) ** h) for h in range(self.truth.H)]
        return self.learner.plan().policy

    def judge(self, policy: HistoryPolicy) -> np.ndarray:
        return np.array([evaluate(self.truth, self.config.gamma_risk, policy)])

    def expected_return(self, policy: HistoryPolicy) -> float:
        return evaluate(self.truth, RISK_NEUTRAL, policy)
