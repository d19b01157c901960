"""Risk-sensitive learning with hindsight as an RLlib algorithm.

Runners give the hidden states of an episode back with its end; the algorithm counts and plans.
"""

from collections.abc import Sequence

import numpy as np

from tenfold.algorithms.common.policy_tables import Reactions
from tenfold.algorithms.common.replanning import ReplanningAlgorithm
from tenfold.algorithms.risk_pomdp.baum_welch import BaumWelchLearner
from tenfold.algorithms.risk_pomdp.beta import evaluate, solve
from tenfold.algorithms.risk_pomdp.config import RiskPOMDPConfig
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.algorithms.risk_pomdp.point_based import PointBasedPlanner
from tenfold.envs.risk.controller import Controller
from tenfold.envs.risk.measures import ROUNDING, CVaR
from tenfold.envs.risk.pomdp import HistoryPolicy, TabularPOMDP
from tenfold.envs.risk.pomdp_py_program import pomdp_py_program

RISK_NEUTRAL = 1e-6


def random_reactions(pomdp: TabularPOMDP, rng: np.random.Generator) -> Controller:
    """A random action for each step and observation: uniform behaviour if drawn every episode."""
    H, A, O = pomdp.H, pomdp.A, pomdp.O  # noqa: E741
    seen = np.arange(O)
    return Controller(seen, list(rng.integers(A, size=(H, O))), [np.tile(seen, (O, 1))] * (H - 1))


class RiskPOMDP(ReplanningAlgorithm):
    """Plan, play, look back; policies are those of histories, or controllers."""

    config: RiskPOMDPConfig

    learner: HindsightLearner

    @classmethod
    def get_default_config(cls) -> RiskPOMDPConfig:
        return RiskPOMDPConfig()

    def set_up(self) -> None:
        config = self.config
        self.truth = config.true_model()
        self.optimum = np.array([self._best(config.gamma_risk)[0]])
        settings = (
            self.truth.rewards,
            self.truth.O,
            config.risk(),
            config.bonus_scale,
            config.delta,
            config.episodes,
        )
        if config.learner == "baum_welch":
            self.learner = BaumWelchLearner(*settings, np.random.default_rng(config.seed or 0))
        else:
            self.learner = HindsightLearner(*settings, config.confidence)
        if config.learner == "oracle":
            self.known = self._best(config.risk())[1]
        if config.check_confidence:
            self.joint = _joint(self.truth)

    def plan(self, rng: np.random.Generator) -> HistoryPolicy | Controller:
        config = self.config
        if config.learner == "oracle":
            return self.known
        if config.learner == "uniform":
            return random_reactions(self.truth, rng)
        self.solution = (
            self.learner.plan_point_based(config.planner_gap, config.planner_trials)
            if config.planner == "point_based"
            else self.learner.plan()
        )
        return self.solution.policy

    def policy_of(self, arrays: Sequence[np.ndarray]) -> HistoryPolicy | Controller:
        H = self.truth.H
        if len(arrays) == H:
            return list(arrays)
        return Controller(arrays[0], list(arrays[1 : H + 1]), list(arrays[H + 1 :]))

    def confidence(self) -> tuple[float, bool]:
        """Covered are the (h, s, a) before the last step whose bonus is at least the error of the
        step's probabilities for the worst vector."""
        learner = self.learner
        off = np.maximum(_joint(learner.model()) - self.joint, 0.0).sum(axis=(3, 4))
        enough = learner.weight[:-1] * off <= learner.bonus()[:-1] + ROUNDING
        covered = float(enough.mean()) if enough.size else 1.0
        return covered, self.solution.value >= self.optimum[0] - ROUNDING

    def _best(self, gamma: float) -> tuple[float, HistoryPolicy | Controller]:
        """The optimum of the true model (or its upper bound), and a policy for it."""
        config = self.config
        if config.planner == "exact":
            best = solve(self.truth, gamma)
            return best.value, best.policy
        found = PointBasedPlanner(self.truth, gamma).solve(
            config.planner_gap, config.planner_trials
        )
        return found.upper, found.controller

    def values_of(self, policy: HistoryPolicy | Controller) -> np.ndarray:
        return np.array([evaluate(self.truth, self.config.gamma_risk, policy)])

    def expected_return(self, policy: HistoryPolicy | Controller) -> float:
        return evaluate(self.truth, RISK_NEUTRAL, policy)

    def evaluate_plan(self) -> dict[str, float]:
        """The exact evaluation, with `judged_alpha` CVaR of the return among it."""
        found, alpha = super().evaluate_plan(), self.config.judged_alpha
        if alpha is not None:
            returns = self.truth.return_distribution(self._present_controller())
            found["return_cvar"] = self.returns_unit.of(float(CVaR(alpha).of(*returns)))
        return found

    def as_pomdp_py(self, file: str) -> str:
        """The learner's present policy, and the POMDP, as a program for pomdp_py."""
        about = f"{self.config.env} after {self.episodes:,} episodes"
        return pomdp_py_program(self.truth, self._present_controller(), about, file)

    def _present_controller(self) -> Controller:
        policy = self.present_policy()
        if isinstance(policy, Controller):
            return policy
        return Controller.of_histories(policy, self.truth.O)

    def as_network(self) -> tuple[Reactions, np.ndarray]:
        """The learner's present policy, and observations of two episodes, (2, H) int64."""
        policy = self._present_controller()
        network = Reactions(policy.start, policy.actions, policy.successors)
        return network, np.zeros((2, policy.H), np.int64)


def _joint(pomdp: TabularPOMDP) -> np.ndarray:
    """Probabilities of the next state and its observation, (H - 1, S, A, S, O)."""
    joint: np.ndarray = pomdp.transitions[:-1, ..., None] * pomdp.emissions[1:, None, None]
    return joint
