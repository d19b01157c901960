"""RS-DisRL as an RLlib algorithm: runners play episodes, the algorithm plans and counts.

A work item is one episode: the policy (H, S, Y) and the seed of its draws. The memory is the
counts, the policy in use, the number of episodes and the regret so far.
"""

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from tenfold.algorithms.planning import PlanningAlgorithm, PlanningRunner
from tenfold.algorithms.rs_disrl.config import RSDisRLConfig
from tenfold.algorithms.rs_disrl.learners import make_learner
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.envs.risk.returns import AugmentedEpisode

PLANNING, WORLD = 0, 1  # streams of random numbers of an episode


class EpisodeRunner(PlanningRunner):
    """Plays an episode of the task."""

    def make_env(self) -> None:
        config: RSDisRLConfig = self.config
        self.mdp = config.task()

    def rollout(self, item: Mapping[str, Any]) -> AugmentedEpisode:
        """Play one episode.

        Args:
            item: ``policy`` (H, S, Y) int and ``seed``, a list of ints.
        """
        return self.mdp.play(item["policy"], np.random.default_rng(item["seed"]))


class RSDisRLAlgorithm(PlanningAlgorithm):
    """Plan, play, count; regret is exact, against the planner's optimum of the true model."""

    config: RSDisRLConfig

    runner_class = EpisodeRunner

    @classmethod
    def get_default_config(cls) -> RSDisRLConfig:
        return RSDisRLConfig()

    def initialise(self) -> None:
        self.mdp = self.config.task()
        self.rho = self.config.measure()
        self.learner = make_learner(self.config, self.mdp)
        self.optimum = StaticPlanner(self.mdp).solve(self.rho).value
        self.policy = np.zeros((self.mdp.H, self.mdp.S, self.mdp.Y), dtype=np.int64)
        self.value = self.mdp.risk(self.rho, self.policy)
        self.next_plan = 0
        self.episodes = 0
        self.regret = 0.0

    def training_step(self) -> None:
        config = self.config
        left = config.episodes - self.episodes
        returns, seconds = [], 0.0
        for _ in range(min(config.episodes_per_iteration, left)):
            start = time.perf_counter()
            if self.episodes >= self.next_plan:
                self.policy, self.value = self._planned()
                self.next_plan = next_plan(self.episodes, config.replan_share)
            seconds += time.perf_counter() - start
            seed = [config.seed or 0, self.episodes, WORLD]
            episode = self.rollouts([{"policy": self.policy, "seed": seed}])[0]
            self.learner.update(episode)
            self.regret += self.optimum - self.value
            returns.append(episode.total)
            self.episodes += 1
        self.report(
            episodes=float(self.episodes),
            regret=self.regret,
            episode_return=float(np.mean(returns)),
            policy_value=self.value,
            optimal_value=self.optimum,
            planning_seconds=seconds / len(returns),
        )

    def finished(self) -> bool:
        return self.episodes >= self.config.episodes

    def evaluate_plan(self) -> dict[str, float]:
        """The present policy, judged exactly on the true model.

        Raises:
            ValueError: The memory is of a task of another size.
        """
        wanted = make_learner(self.config, self.mdp).counts.shape
        if self.learner.counts.shape != wanted:
            raise ValueError(
                f"The checkpoint's 'counts' has the shape {self.learner.counts.shape}, task "
                f"'{self.config.env}' needs {wanted}: choose a task of the same size."
            )
        policy, value = self._planned()
        return {
            "policy_value": value,
            "optimal_value": self.optimum,
            "gap": self.optimum - value,
            "expected_return": float(self.mdp.returns @ self.mdp.law(policy)),
        }

    def _planned(self) -> tuple[np.ndarray, float]:
        """The policy that the learner would play now, and its exact value."""
        rng = np.random.default_rng([self.config.seed or 0, self.episodes, PLANNING])
        policy = self.learner.plan(rng).policy
        same = np.array_equal(policy, self.policy)
        return policy, self.value if same else self.mdp.risk(self.rho, policy)

    def get_plan(self) -> dict[str, Any]:
        return {
            "episodes": self.episodes,
            "next_plan": self.next_plan,
            "regret": self.regret,
            "policy": self.policy,
            "value": self.value,
            "counts": self.learner.counts,
        }

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        self.episodes = plan["episodes"]
        self.next_plan = plan["next_plan"]
        self.regret = plan["regret"]
        self.policy = plan["policy"].copy()
        self.value = plan["value"]
        self.learner.counts = plan["counts"].copy()


def next_plan(episodes: int, share: float) -> int:
    """The episode before which a plan made after so many episodes is replaced."""
    return max(episodes + 1, math.ceil(episodes * (1.0 + share)))
