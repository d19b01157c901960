"""Risk-sensitive learning with hindsight as an RLlib algorithm.

Runners play episodes and give the hidden states back with them; the algorithm counts and plans. A
work item is one episode: the policy as arrays, and the seed of its draws.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from tenfold.algorithms.planning import PlanningAlgorithm, PlanningRunner
from tenfold.algorithms.risk_pomdp.beta import best_plan, evaluate
from tenfold.algorithms.risk_pomdp.config import RiskPOMDPConfig
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.envs.risk.pomdp import HindsightEpisode, HistoryPolicy

PLANNING, WORLD = 0, 1  # streams of random numbers of an episode
RISK_NEUTRAL = 1e-6


class EpisodeRunner(PlanningRunner):
    """Plays an episode of the POMDP."""

    def make_env(self) -> None:
        config: RiskPOMDPConfig = self.config
        self.pomdp = config.pomdp()

    def rollout(self, item: Mapping[str, Any]) -> HindsightEpisode:
        """Play one episode; the hidden states come with its end only.

        Args:
            item: ``policy``, see `HistoryPolicy`, and ``seed``, a list of ints.
        """
        return self.pomdp.play(item["policy"], np.random.default_rng(item["seed"]))


class RiskPOMDP(PlanningAlgorithm):
    """Plan, play, look back; regret is exact, against the optimum of the true model."""

    config: RiskPOMDPConfig

    runner_class = EpisodeRunner

    @classmethod
    def get_default_config(cls) -> RiskPOMDPConfig:
        return RiskPOMDPConfig()

    def initialise(self) -> None:
        config = self.config
        self.truth = config.pomdp()
        self.optimum = best_plan(self.truth, config.gamma_risk).value
        self.learner = HindsightLearner(
            self.truth.rewards,
            self.truth.O,
            config.risk(),
            config.bonus_scale,
            config.delta,
            config.episodes,
        )
        self.episodes = 0
        self.regret = 0.0

    def training_step(self) -> None:
        config = self.config
        returns, seconds, value = [], 0.0, 0.0
        for _ in range(min(config.episodes_per_iteration, config.episodes - self.episodes)):
            start = time.perf_counter()
            policy = self._plan()
            seconds += time.perf_counter() - start
            value = evaluate(self.truth, config.gamma_risk, policy)
            seed = [config.seed or 0, self.episodes, WORLD]
            episode = self.rollouts([{"policy": policy, "seed": seed}])[0]
            self.learner.update(episode)
            self.regret += self.optimum - value
            returns.append(episode.total)
            self.episodes += 1
        self.report(
            episodes=float(self.episodes),
            regret=self.regret,
            episode_return=float(np.mean(returns)),
            policy_value=value,
            optimal_value=self.optimum,
            planning_seconds=seconds / len(returns),
        )

    def finished(self) -> bool:
        return self.episodes >= self.config.episodes

    def evaluate_plan(self) -> dict[str, float]:
        """The present policy, judged exactly on the true model.

        Raises:
            ValueError: The memory is of a POMDP of another size.
        """
        for name, wanted in (("moves", self.truth.transitions), ("sights", self.truth.emissions)):
            found = self.learner.get_state()[name].shape
            if found != wanted.shape:
                raise ValueError(
                    f"The checkpoint's '{name}' has the shape {found}, task '{self.config.env}' "
                    f"needs {wanted.shape}: choose a task of the same size."
                )
        policy = self._plan()
        value = evaluate(self.truth, self.config.gamma_risk, policy)
        return {
            "policy_value": value,
            "optimal_value": self.optimum,
            "gap": self.optimum - value,
            "expected_return": evaluate(self.truth, RISK_NEUTRAL, policy),
        }

    def _plan(self) -> HistoryPolicy:
        if self.config.learner == "oracle":
            return best_plan(self.truth, self.config.risk()).policy
        if self.config.learner == "uniform":
            rng = np.random.default_rng([self.config.seed or 0, self.episodes, PLANNING])
            O, A = self.truth.O, self.truth.A  # noqa: E741
            return [rng.integers(A, size=O * (A * O) ** h) for h in range(self.truth.H)]
        return self.learner.plan().policy

    def get_plan(self) -> dict[str, Any]:
        return {"episodes": self.episodes, "regret": self.regret, **self.learner.get_state()}

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        self.episodes = plan["episodes"]
        self.regret = plan["regret"]
        self.learner.set_state({key: plan[key] for key in self.learner.get_state()})
