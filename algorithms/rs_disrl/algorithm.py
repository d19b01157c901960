"""RS-DisRL as an RLlib algorithm; a policy is kept until the episodes have grown by a share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tenfold.algorithms.common.distribution_figure import draw_distributions
from tenfold.algorithms.common.policy_tables import PolicyTable
from tenfold.algorithms.common.replanning import ReplanningAlgorithm
from tenfold.algorithms.rs_disrl.config import RSDisRLConfig
from tenfold.algorithms.rs_disrl.constraint import ConstrainedPlanner, Lottery
from tenfold.algorithms.rs_disrl.learners import (
    Constrained,
    ConstrainedOracle,
    Counting,
    RSDisRL,
    make_learner,
)
from tenfold.algorithms.rs_disrl.planner import WITH_UTILITY, Solution, StaticPlanner
from tenfold.envs.risk.estimates import estimate_risk
from tenfold.envs.risk.measures import ROUNDING, CVaR

EVALUATION = 2  # stream of random numbers of the episodes that evaluate a policy


class RSDisRLAlgorithm(ReplanningAlgorithm):
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
        if self.config.check_confidence:
            assert isinstance(self.rho, WITH_UTILITY)
            self.utility = planner.best_utility(self.rho)
            self.worth = planner.to_come(self.utility)

    def plan(self, rng: np.random.Generator) -> np.ndarray:
        self.solution = self.learner.plan(rng)
        return self.solution.policy

    def policy_of(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.array(arrays)

    def confidence(self) -> tuple[float, bool]:
        """Covered are the (h, s, a), and there the y that can be reached, at which the largest mean
        to come of the optimum's utility is at least the true one by the learner's sets."""
        assert isinstance(self.learner, RSDisRL)
        mdp, held = self.mdp, []
        most = np.cumsum([0, *mdp.rewards.reshape(mdp.H, -1).max(axis=1)])  # y before each step
        hopes = self.learner.planner().to_come(self.utility)
        for y, hope, worth in zip(most[:-1], hopes, self.worth, strict=True):
            enough = hope[: mdp.S, :, : y + 1] >= worth[:, :, : y + 1] - ROUNDING
            held.append(enough.mean())
        return float(np.mean(held)), self.solution.value >= self.best.value - ROUNDING

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
