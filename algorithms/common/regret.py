"""The RLlib base of learners whose regret is known exactly: plan, evaluate, play, learn.

The true model is at hand, so that each policy's exact value and the optimum are computed, but the
learner sees episodes only. A work item is one episode: the policy, and the seed of its draws. The
memory is the learner's arrays, the number of episodes and the regret so far; policies are planned
anew from them.

A method subclasses `RegretConfig` and `RegretAlgorithm`.
"""

import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tenfold.algorithms.common.planning import PlanningAlgorithm, PlanningConfig, PlanningRunner
from tenfold.envs.risk.scale import Unit
from tenfold.platform.parameters import parameter

PLANNING, EPISODE = 0, 1  # streams of random numbers of an episode

# Arrays of actions, one entry (or one list entry) a step; what indexes them depends on the model.
Policy = Any


class Model(Protocol):
    """A model that policies are played in."""

    @property
    def unit(self) -> Unit:
        """The user's unit of returns."""
        ...

    def play(self, policy: Any, rng: np.random.Generator) -> Any:
        """One episode of a policy; its `total` is the return."""
        ...


class RegretLearner(Protocol):
    """Learns from episodes; how it plans is up to the method."""

    def update(self, episode: Any) -> None:
        """Learn an episode."""
        ...

    def get_state(self) -> dict[str, np.ndarray]:
        """The memory as arrays."""
        ...

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `get_state`."""
        ...


class RegretConfig(PlanningConfig):
    """Config of a learner on a task; the task is `AlgorithmConfig.env`."""

    class Parameters(PlanningConfig.Parameters):
        """What every such learner takes; a method adds `learner` and its own."""

        bonus_scale: float = parameter(
            1.0, "Factor of the theory's bonus or radius; 0 is greedy", ge=0, le=1e6
        )
        delta: float = parameter(
            0.05, "Probability with which a confidence set may miss the truth", ge=1e-12, lt=1
        )
        discount: float = parameter(
            1.0, "Factor of each further step's reward in all values and returns", gt=0, le=1
        )
        episodes: int = parameter(
            2_000, "Episodes K of a run; the theory's constants depend on it", ge=1, le=10**9
        )
        episodes_per_iteration: int = parameter(100, "Episodes between two results", ge=1, le=10**9)

    def total_steps(self) -> int:
        """Episodes of a run."""
        episodes: int = self.episodes
        return episodes

    @abstractmethod
    def true_model(self) -> Model:
        """The true model: the task of `env` with the fields that `env_config` changes, discounted.

        Raises:
            ValueError: No such task or field, or values that do not make a model.
        """


class EpisodeRunner(PlanningRunner):
    """Plays an episode of the true model."""

    def make_env(self) -> None:
        config: RegretConfig = self.config
        self.model = config.true_model()

    def rollout(self, item: Mapping[str, Any]) -> Any:
        """Play one episode.

        Args:
            item: ``policy`` and ``seed``, a list of ints.
        """
        return self.model.play(item["policy"], np.random.default_rng(item["seed"]))


class RegretAlgorithm(PlanningAlgorithm):
    """Plan, play, learn; regret is exact, against the optimum of the true model.

    Subclasses implement `set_up`, `plan`, `values_of` and `expected_return`. Values are arrays
    (V,): one for each first state where regret is measured from there, else a single one; `weights`
    (V,) makes one number of them. All that is reported is in the user's unit.
    """

    config: RegretConfig

    runner_class = EpisodeRunner
    learner: RegretLearner
    optimum: np.ndarray
    weights: np.ndarray = np.ones(1)

    def unit(self) -> Unit:
        """The user's unit of values."""
        return self.returns_unit

    @abstractmethod
    def set_up(self) -> None:
        """Set `learner` (before its first episode), `optimum` (V,), and `weights` if V > 1."""

    @abstractmethod
    def plan(self, rng: np.random.Generator) -> Policy:
        """The policy that the learner would play now."""

    @abstractmethod
    def values_of(self, policy: Policy) -> np.ndarray:
        """Exact values (V,) of a policy on the true model."""

    @abstractmethod
    def expected_return(self, policy: Policy) -> float:
        """The exact mean of the return."""

    def due(self) -> bool:
        """Whether a new policy is planned before the next episode."""
        return True

    def first(self, episode: Any) -> int:
        """Which of the V values the episode's regret is measured with."""
        return 0

    def initialise(self) -> None:
        self.set_up()
        self.returns_unit = self.config.true_model().unit
        self.shapes = {key: value.shape for key, value in self.learner.get_state().items()}
        self.policy: Policy = None
        self.value = np.full(self.optimum.shape, np.nan)
        self.episodes = 0
        self.regret = 0.0

    def training_step(self) -> None:
        config, unit = self.config, self.unit()
        if self.finished():  # a run that had ended goes on: there is nothing to measure
            self.report(episodes=float(self.episodes), regret=unit.span * self.regret)
            return
        returns, seconds = [], 0.0
        for _ in range(min(config.episodes_per_iteration, config.episodes - self.episodes)):
            start = time.perf_counter()
            policy = self.present_policy() if self.due() else self.policy
            seconds += time.perf_counter() - start
            self.follow(policy)
            seed = [config.seed or 0, self.episodes, EPISODE]
            episode = self.rollouts([{"policy": self.policy, "seed": seed}])[0]
            played = time.perf_counter()
            self.learner.update(episode)
            seconds += time.perf_counter() - played
            first = self.first(episode)
            self.regret += float(self.optimum[first] - self.value[first])
            returns.append(episode.total)
            self.episodes += 1
        self.report(
            episodes=float(self.episodes),
            regret=unit.span * self.regret,
            episode_return=self.returns_unit.of(float(np.mean(returns))),
            policy_value=unit.of(float(self.weights @ self.value)),
            optimal_value=unit.of(float(self.weights @ self.optimum)),
            planning_seconds=seconds / len(returns),
        )

    def present_policy(self) -> Policy:
        """What the learner would play in the next episode if it planned before it."""
        return self.plan(np.random.default_rng([self.config.seed or 0, self.episodes, PLANNING]))

    def follow(self, policy: Policy) -> None:
        """Play a policy from now on; it is evaluated unless it is the last one."""
        if self.policy is None or not _equal(policy, self.policy):
            self.policy, self.value = policy, self.values_of(policy)

    def finished(self) -> bool:
        return self.episodes >= self.config.episodes

    def evaluate_plan(self) -> dict[str, float]:
        """The learner's present policy, evaluated exactly on the true model.

        Raises:
            ValueError: The memory is of a task of another size.
        """
        for key, value in self.learner.get_state().items():
            if value.shape != self.shapes[key]:
                raise ValueError(
                    f"The checkpoint's '{key}' has the shape {value.shape}, task "
                    f"'{self.config.env}' needs {self.shapes[key]}: choose a task of the same size."
                )
        policy = self.present_policy()
        gaps = self.optimum - self.values_of(policy)
        optimum, gap = float(self.weights @ self.optimum), float(self.weights @ gaps)
        unit = self.unit()
        return {
            "policy_value": unit.of(optimum - gap),
            "optimal_value": unit.of(optimum),
            "gap": unit.span * gap,
            "expected_return": unit.of(self.expected_return(policy)),
        }

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


def _equal(one: Policy, other: Policy) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
