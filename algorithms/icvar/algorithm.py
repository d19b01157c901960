"""Iterated CVaR RL as an RLlib algorithm: runners play episodes, the algorithm plans and counts.

A work item is one episode: the policy as an array, and the seed of its draws. The memory is the
learner's arrays, the number of episodes and the regret so far; plans are made anew from them.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from tenfold.algorithms.icvar.config import ICVaRConfig
from tenfold.algorithms.icvar.learners import make_learner
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.algorithms.planning import PlanningAlgorithm, PlanningRunner
from tenfold.envs.risk.mdp import Episode

PLANNING, WORLD = 0, 1  # streams of random numbers of an episode


class EpisodeRunner(PlanningRunner):
    """Plays an episode of the task."""

    def make_env(self) -> None:
        config: ICVaRConfig = self.config
        self.mdp = config.task().mdp

    def rollout(self, item: Mapping[str, Any]) -> Episode:
        """Play one episode.

        Args:
            item: ``policy`` (H, S) int and ``seed``, a list of ints.
        """
        return self.mdp.play(item["policy"], np.random.default_rng(item["seed"]))


class ICVaR(PlanningAlgorithm):
    """Plan, play, learn; regret is exact, against the optimum of the true model."""

    config: ICVaRConfig

    runner_class = EpisodeRunner

    @classmethod
    def get_default_config(cls) -> ICVaRConfig:
        return ICVaRConfig()

    def initialise(self) -> None:
        task = self.config.task()
        self.initial = task.mdp.initial
        self.learner = make_learner(self.config, task)
        self.shapes = {key: value.shape for key, value in self.learner.get_state().items()}
        self.truth = IteratedCVaR(task.mdp, self.config.alpha)
        self.optimum = self.truth.optimal().values[0]
        self.policy = np.zeros((task.mdp.H, task.mdp.S), dtype=np.int64)
        self.value = self.truth.evaluate(self.policy)[0]
        self.episodes = 0
        self.regret = 0.0

    def training_step(self) -> None:
        config = self.config
        left = config.episodes - self.episodes
        returns, seconds = [], 0.0
        for _ in range(min(config.episodes_per_iteration, left)):
            start = time.perf_counter()
            policy = self._plan()
            planned = time.perf_counter()
            self._judge(policy)
            seed = [config.seed or 0, self.episodes, WORLD]
            episode = self.rollouts([{"policy": self.policy, "seed": seed}])[0]
            played = time.perf_counter()
            self.learner.update(episode)
            seconds += planned - start + time.perf_counter() - played
            first = episode.states[0]
            self.regret += float(self.optimum[first] - self.value[first])
            returns.append(episode.total)
            self.episodes += 1
        self.report(
            episodes=float(self.episodes),
            regret=self.regret,
            episode_return=float(np.mean(returns)),
            policy_value=float(self.initial @ self.value),
            optimal_value=float(self.initial @ self.optimum),
            planning_seconds=seconds / len(returns),
        )

    def finished(self) -> bool:
        return self.episodes >= self.config.episodes

    def evaluate_plan(self) -> dict[str, float]:
        """The present policy, judged exactly on the true model.

        Raises:
            ValueError: The memory is of a task of another size.
        """
        self._check_memory()
        self._judge(self._plan())
        neutral = IteratedCVaR(self.truth.mdp, 1.0)
        value = float(self.initial @ self.value)
        optimum = float(self.initial @ self.optimum)
        return {
            "policy_value": value,
            "optimal_value": optimum,
            "gap": optimum - value,
            "expected_return": float(self.initial @ neutral.evaluate(self.policy)[0]),
        }

    def _plan(self) -> np.ndarray:
        rng = np.random.default_rng([self.config.seed or 0, self.episodes, PLANNING])
        return self.learner.plan(rng).policy

    def _judge(self, policy: np.ndarray) -> None:
        """Set the policy and its exact values, unless it is the last one."""
        if not np.array_equal(self.policy, policy):
            self.policy = policy
            self.value = self.truth.evaluate(policy)[0]

    def _check_memory(self) -> None:
        for key, value in self.learner.get_state().items():
            if value.shape != self.shapes[key]:
                raise ValueError(
                    f"The checkpoint's '{key}' has the shape {value.shape}, task "
                    f"'{self.config.env}' needs {self.shapes[key]}: choose a task of the same size."
                )

    def get_plan(self) -> dict[str, Any]:
        learnt = self.learner.get_state().items()
        return {
            "episodes": self.episodes,
            "regret": self.regret,
            **{f"learner/{key}": value for key, value in learnt},
        }

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        self.episodes = plan["episodes"]
        self.regret = plan["regret"]
        self.learner.set_state({key: plan[f"learner/{key}"] for key in self.shapes})
