"""The RLlib base of learners whose regret is known exactly: plan, evaluate, play, learn.

The true model is at hand, so that each policy's exact value and the optimum are computed, but the
learner sees episodes only. A work item is one episode: the policy, and the seed of its draws. The
memory is the learner's arrays, the number of episodes and what was measured of them so far;
policies are planned anew from it.

A method subclasses `RegretConfig` and `RegretAlgorithm`.
"""

import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tenfold.algorithms.common.planning import PlanningAlgorithm, PlanningConfig, PlanningRunner
from tenfold.algorithms.common.regret_curve import NONE, RegretCurve
from tenfold.algorithms.common.regret_metrics import CHECKED
from tenfold.envs.risk.scale import Unit
from tenfold.platform.parameters import parameter

PLANNING, EPISODE = 0, 1  # streams of random numbers of an episode
NEAR = 0.01  # of the optimum: a policy that loses no more is near it

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
        check_confidence: bool = parameter(
            False,
            "Whether what each policy was planned from is held against the true model, for the "
            "metrics covered and optimistic",
        )

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

    Subclasses implement `set_up`, `plan`, `values_of`, `expected_return` and `confidence`. Values
    are arrays (V,): one for each first state where regret is measured from there, else a single
    one; `weights` (V,) makes one number of them. All that is reported is in the user's unit.

    Metrics of the episodes so far:
        regret, regret_slope: The sum of what policies lose, and its log-log slope over the second
            half of the episodes (see `RegretCurve`; left out where it is not defined).
        last_regret: The last episode with regret, counted from 1; 0 without any.
        burn_in: The last episode whose policy was more than 1 % below the optimum.
        near_optimum: 1 if the present policy is within 1 % of the optimum, else 0.
        policy_value, optimal_value: Of the present policy and of the best one.
        episode_return, planning_seconds: Means over the iteration's episodes.
        covered, optimistic: With `check_confidence`, means over the episodes of what the method's
            `confidence` says of their policies.
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

    @abstractmethod
    def confidence(self) -> tuple[float, bool]:
        """What the last policy was planned from, beside the truth.

        Returns:
            The share of places at which the learner is as optimistic as it promises to be, and
            whether the value that it planned is at least the optimum.
        """

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
        self.near = False
        self.episodes = 0
        self.regret = 0.0
        self.curve = RegretCurve(self.config.episodes)
        self.last_regret = self.burn_in = 0
        self.held = np.zeros(2)  # covered and optimistic of the policy
        self.held_so_far = np.zeros(2)  # summed over episodes

    def training_step(self) -> None:
        config, unit = self.config, self.unit()
        if self.finished():  # a run that had ended goes on: there is nothing to measure
            self.report(episodes=float(self.episodes), regret=unit.span * self.regret)
            return
        returns, seconds = [], 0.0
        for _ in range(min(config.episodes_per_iteration, config.episodes - self.episodes)):
            start = time.perf_counter()
            due = self.due()
            policy = self.present_policy() if due else self.policy
            seconds += time.perf_counter() - start
            self.follow(policy)
            if due and config.check_confidence:
                self.held = np.array(self.confidence(), dtype=np.float64)
            seed = [config.seed or 0, self.episodes, EPISODE]
            episode = self.rollouts([{"policy": self.policy, "seed": seed}])[0]
            played = time.perf_counter()
            self.learner.update(episode)
            seconds += time.perf_counter() - played
            self._measure(self.first(episode))
            returns.append(episode.total)
        self.report(
            episodes=float(self.episodes),
            regret=unit.span * self.regret,
            last_regret=float(self.last_regret),
            burn_in=float(self.burn_in),
            near_optimum=float(self.near),
            episode_return=self.returns_unit.of(float(np.mean(returns))),
            policy_value=unit.of(float(self.weights @ self.value)),
            optimal_value=unit.of(float(self.weights @ self.optimum)),
            planning_seconds=seconds / len(returns),
        )
        slope = self.curve.slope(self.episodes)
        if slope is not None:
            self.report(regret_slope=slope)
        if config.check_confidence:
            shares = self.held_so_far / self.episodes
            self.report(**dict(zip(CHECKED, shares.tolist(), strict=True)))

    def _measure(self, first: int) -> None:
        """Count an episode of the present policy, whose regret is that of a first state."""
        loss = float(self.optimum[first] - self.value[first])
        self.episodes += 1
        self.regret += loss
        self.curve.add(self.episodes, self.regret)
        self.held_so_far += self.held
        if loss > NONE:
            self.last_regret = self.episodes
        if not self.near:
            self.burn_in = self.episodes

    def present_policy(self) -> Policy:
        """What the learner would play in the next episode if it planned before it."""
        return self.plan(np.random.default_rng([self.config.seed or 0, self.episodes, PLANNING]))

    def follow(self, policy: Policy) -> None:
        """Play a policy from now on; it is evaluated unless it is the last one."""
        if self.policy is None or not _equal(policy, self.policy):
            self.policy, self.value = policy, self.values_of(policy)
            lost = self.unit().span * float(self.weights @ (self.optimum - self.value))
            best = self.unit().of(float(self.weights @ self.optimum))
            self.near = lost <= NEAR * abs(best) + NONE

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
            "curve": self.curve.regret,
            "last_regret": self.last_regret,
            "burn_in": self.burn_in,
            "held": np.array([self.held, self.held_so_far]),
            **{f"learner/{key}": value for key, value in learnt},
        }

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        # Checkpoints of before 2026-11 have nothing but the learner, episodes and regret.
        plan = {**RegretAlgorithm.get_plan(self), **plan}
        self.episodes = plan["episodes"]
        self.regret = plan["regret"]
        self.curve.regret = plan["curve"].copy()
        self.last_regret, self.burn_in = plan["last_regret"], plan["burn_in"]
        self.held, self.held_so_far = plan["held"].copy()
        self.learner.set_state({key: plan[f"learner/{key}"] for key in self.shapes})


def _equal(one: Policy, other: Policy) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
