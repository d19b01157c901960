"""RS-DisRL as an RLlib algorithm; a policy is kept until the episodes have grown by a share."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.algorithms.common.distribution_figure import draw_distributions
from tenfold.algorithms.common.policy_tables import PolicyTable
from tenfold.algorithms.common.regret import RegretAlgorithm
from tenfold.algorithms.rs_disrl.config import RSDisRLConfig
from tenfold.algorithms.rs_disrl.constraint import ConstrainedPlanner, Lottery
from tenfold.algorithms.rs_disrl.learners import (
    Constrained,
    ConstrainedOracle,
    Counting,
    make_learner,
)
from tenfold.algorithms.rs_disrl.planner import Solution, StaticPlanner
from tenfold.envs.risk.estimates import estimate_risk
from tenfold.envs.risk.measures import CVaR

EVALUATION = 2  # stream of random numbers of the episodes that evaluate a policy


class RSDisRLAlgorithm(RegretAlgorithm):
    """Plan, play, count; policies are arrays (H, S, Y). The optimum is the planner's."""

    config: RSDisRLConfig

    learner: Counting

    @classmethod
    def get_default_config(cls) -> RSDisRLConfig:
        return RSDisRLConfig()

    def set_up(self) -> None:
        self.mdp = self.config.true_model()
        self.rho = self.config.measure()
        self.learner = make_learner(self.config, self.mdp)
        planner, least = StaticPlanner(self.mdp), self.config.least(self.mdp)
        self.best: Solution | Lottery = (
            planner.solve(self.rho)
            if least is None
            else ConstrainedPlanner(planner, self.config.constraint_alpha, least).solve()
        )
        self.optimum = np.array([self.best.value])
        self.next_planning = 0

    def plan(self, rng: np.random.Generator) -> np.ndarray:
        return self.learner.plan(rng).policy

    def due(self) -> bool:
        if self.episodes < self.next_planning:
            return False
        self.next_planning = next_planning(self.episodes, self.config.replan_share)
        return True

    def values_of(self, policy: np.ndarray) -> np.ndarray:
        """rho of the return; under a constraint the mean, and what the policy has more (or less)
        than is needed of CVaR's k_b, at the optimum's b and price."""
        value = self.mdp.risk(self.rho, policy)
        if isinstance(self.best, Lottery):
            short = np.minimum(self.mdp.returns - self.mdp.returns[self.best.budget], 0.0)
            k = short @ self.mdp.return_distribution(policy)
            least, alpha = self.config.least(self.mdp), self.config.constraint_alpha
            needed = alpha * (least - self.mdp.returns[self.best.budget])
            value += self.best.price * float(k - needed)
        return np.array([value])

    def expected_return(self, policy: np.ndarray) -> float:
        return float(self.mdp.returns @ self.mdp.return_distribution(policy))

    def evaluate_plan(self) -> dict[str, float]:
        """The exact evaluation, and rho of `judged_episodes` episodes with an interval."""
        exact = super().evaluate_plan()
        policy, seed = self.present_policy(), self.config.seed or 0
        draws = [
            np.random.default_rng([seed, i, EVALUATION]) for i in range(self.config.judged_episodes)
        ]
        returns = np.array([self.mdp.play(policy, draw).total for draw in draws])
        estimate = estimate_risk(self.rho, returns, np.random.default_rng(seed))
        self.evaluated = policy, returns
        sampled = {
            "risk": estimate.value,
            "risk_low": estimate.low,
            "risk_high": estimate.high,
        }
        unit = self.unit()
        found = {f"sampled_{key}": unit.of(value) for key, value in sampled.items()}
        return {**exact, **found, **self._evaluate_lottery()}

    def _evaluate_lottery(self) -> dict[str, float]:
        """Under a constraint the exact mean and CVaR of the lottery over policies."""
        if not isinstance(self.best, Lottery):
            return {}
        assert isinstance(self.learner, Constrained | ConstrainedOracle)
        lottery = self.learner.lottery()
        each = [self.mdp.return_distribution(policy) for policy in lottery.policies]
        mixed, unit = lottery.chances @ np.array(each), self.unit()
        cvar = float(CVaR(self.config.constraint_alpha).of(self.mdp.returns, mixed))
        return {
            "lottery_mean": unit.of(float(self.mdp.returns @ mixed)),
            "lottery_cvar": unit.of(cvar),
        }

    def draw_evaluation(self, folder: Path) -> list[Path]:
        """Distribution functions of the return: of the last evaluation's policy and of the optimum.

        Returns:
            The files written, in `folder`.
        """
        policy, played = self.evaluated
        offset = self.unit().offset
        grid, returns = self.mdp.returns + offset, played + offset
        distributions = {
            "policy": (grid, self.mdp.return_distribution(policy)),
            f"{len(returns):,} episodes of it": (returns, np.full(len(returns), 1 / len(returns))),
            "optimum": (grid, self.best.distribution),
        }
        draw_distributions(folder / "returns.png", distributions, self.rho)
        return [folder / "returns.png"]

    def as_network(self) -> tuple[PolicyTable, np.ndarray]:
        """The learner's present policy, and two places in it, (2, 3) int64.

        A place is a step, a state, and what was collected before, in steps of the return grid.
        """
        return PolicyTable(self.present_policy()), np.zeros((2, 3), np.int64)

    def get_plan(self) -> dict[str, Any]:
        return {**super().get_plan(), "next_plan": self.next_planning, "policy": self.policy}

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        super().set_plan(plan)
        self.next_planning = plan["next_plan"]
        self.follow(plan["policy"])


def next_planning(episodes: int, share: float) -> int:
    """The episode before which a policy planned after so many episodes is replaced."""
    return max(episodes + 1, math.ceil(episodes * (1.0 + share)))
