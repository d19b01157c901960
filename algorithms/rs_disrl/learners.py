"""RS-DisRL-M and RS-DisRL-V on tabular tasks, and what they are compared with.

All have one shape: `plan(rng)` gives the policy (H, S, Y) of the next episode, `update(episode)`
learns from it, `counts` is the memory.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from tenfold.algorithms.rs_disrl.by_return import ReturnPlanner
from tenfold.algorithms.rs_disrl.config import RSDisRLConfig
from tenfold.algorithms.rs_disrl.constraint import ConstrainedPlanner, Lottery
from tenfold.algorithms.rs_disrl.linear import LinearPlanner, hats
from tenfold.algorithms.rs_disrl.planner import Belief, Solution, StaticPlanner
from tenfold.algorithms.rs_disrl.sets import Confidence, Estimator, radius
from tenfold.envs.risk.measures import Expectation, RiskMeasure
from tenfold.envs.risk.returns import AugmentedEpisode, GridMDP

Family = Literal["model", "value"]


class Counting(ABC):
    """Counts of outcomes at each (h, s, a), and for each y where `per_return` says so.

    Args:
        mdp: Outcomes, rewards and first state; its probabilities are not read.
        rho: The measure to plan for.
        per_return: Whether y has counts of its own.
    """

    def __init__(self, mdp: GridMDP, rho: RiskMeasure, per_return: bool = False) -> None:
        self.mdp = mdp
        self.rho = rho
        self.counts = np.zeros((*mdp.probabilities.shape, mdp.Y if per_return else 1))

    @abstractmethod
    def plan(self, rng: np.random.Generator) -> Solution:
        """The next policy."""

    def update(self, episode: AugmentedEpisode) -> None:
        """Count the outcomes of an episode."""
        y = episode.collected[:-1] if self.counts.shape[-1] > 1 else 0
        steps = np.arange(self.mdp.H)
        self.counts[steps, episode.states[:-1], episode.actions, episode.outcomes, y] += 1.0

    def get_state(self) -> dict[str, np.ndarray]:
        """The counts."""
        return {"counts": self.counts}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `get_state`."""
        self.counts = state["counts"].copy()

    def empirical(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (H, S, A, O, Y or 1), uniform where unseen, and counts without O."""
        n = self.counts.sum(axis=3)
        probabilities = np.where(
            n[:, :, :, None] > 0.0,
            self.counts / np.maximum(n, 1.0)[:, :, :, None],
            1.0 / self.counts.shape[3],
        )
        return probabilities, n


class RSDisRL(Counting):
    """Optimistic planning over confidence sets of outcome distributions.

    M (`model`): one set for each (h, s, a); y moves in a known way, so what is learnt at one y
    serves all. V (`value`): the tabular categorical class of Z_h(s, y, a), the distribution of
    the return from there, which knows no model: each (h, s, y, a) has its own set, and the best
    outcome is a fictitious one that pays the most in every later step.

    Args:
        mdp: Outcomes, rewards and first state; its probabilities are not read.
        rho: The measure to plan for.
        family: M or V.
        estimator: Which sets.
        episodes: K.
        bonus_scale: Factor of the radius; 0 is greedy on the estimates.
        delta: Probability that some set misses the truth.
        confidence: What the sets of MLE promise.
    """

    def __init__(
        self,
        mdp: GridMDP,
        rho: RiskMeasure,
        family: Family,
        estimator: Estimator,
        episodes: int,
        bonus_scale: float,
        delta: float,
        confidence: Confidence = "set",
    ) -> None:
        super().__init__(with_heaven(mdp) if family == "value" else mdp, rho, family == "value")
        self.family = family
        self.estimator = estimator
        self.scale = bonus_scale
        self.confidence = confidence
        sets = self.counts[:, :, :, 0].size
        if confidence == "mean" and family == "model":
            sets *= mdp.Y  # the utility to come is another one at every y
        # LSR is a union over episodes too; MLE's bound holds at all times at once.
        self.log_union = math.log(sets * (episodes if estimator == "lsr" else 1) / delta)

    def plan(self, rng: np.random.Generator) -> Solution:
        """The policy of the largest rho over policies and the sets' members."""
        best = self.planner().solve(self.rho)
        return replace(best, policy=best.policy[:, : self.mdp.S - (self.family == "value")])

    def planner(self) -> StaticPlanner:
        """Plans with the present sets."""
        kind = ReturnPlanner if self.family == "value" else StaticPlanner
        return kind(self.mdp, self.belief())

    def belief(self) -> Belief:
        """The present sets."""
        probabilities, n = self.empirical()
        if self.scale == 0.0:
            return Belief(probabilities)
        return Belief(probabilities, self.sizes(n), self.estimator)

    def sizes(self, n: np.ndarray) -> np.ndarray:
        """Radii of sets with n outcomes seen, same shape."""
        return radius(
            self.estimator,
            n,
            self.counts.shape[3],
            self.log_union,
            self.scale,
            fixed_order=self.family == "value",
            confidence=self.confidence,
        )


class Constrained(RSDisRL):
    """RS-DisRL for the largest mean under CVaR_alpha >= least, see `ConstrainedPlanner`.

    Args:
        alpha: Risk level of the constraint.
        least: What CVaR must be, in the unit of the MDP's returns.
        settings: Of `RSDisRL`.
    """

    def __init__(self, alpha: float, least: float, *settings: Any) -> None:
        super().__init__(*settings)
        self.alpha, self.least = alpha, least

    def plan(self, rng: np.random.Generator) -> Solution:
        """One policy of the best lottery."""
        return self.lottery().draw(rng)

    def lottery(self) -> Lottery:
        """The best lottery by the present sets."""
        best = ConstrainedPlanner(self.planner(), self.alpha, self.least).solve()
        states = self.mdp.S - (self.family == "value")
        return replace(best, policies=best.policies[:, :, :states])


class ConstrainedOracle(Counting):
    """The best lottery of the true model."""

    def __init__(self, mdp: GridMDP, rho: RiskMeasure, alpha: float, least: float) -> None:
        super().__init__(mdp, rho)
        self.best = ConstrainedPlanner(StaticPlanner(mdp), alpha, least).solve()

    def plan(self, rng: np.random.Generator) -> Solution:
        """One policy of it."""
        return self.best.draw(rng)

    def lottery(self) -> Lottery:
        """The best lottery."""
        return self.best


def with_heaven(mdp: GridMDP) -> GridMDP:
    """The MDP with one more state that pays the step's largest reward for ever, and one more
    outcome of every (h, s, a), of probability 0, that pays it and leads there."""
    top = mdp.rewards.max(axis=(1, 2, 3), keepdims=True)
    wide = [(0, 0), (0, 1), (0, 0), (0, 1)]
    nexts = np.pad(mdp.nexts, wide, constant_values=mdp.S)
    rewards = np.pad(mdp.rewards, wide)
    rewards[..., -1], rewards[:, -1] = top[..., 0], top[:, 0]
    nexts[:, -1] = mdp.S
    probabilities = np.pad(mdp.probabilities, wide)
    probabilities[:, -1, :, -1] = 1.0
    return GridMDP(nexts, rewards, probabilities, mdp.initial, mdp.step)


class LinearV(Counting):
    """RS-DisRL-V with distributions linear in hat functions of y, see `LinearPlanner`.

    Args:
        mdp: Outcomes, rewards and first state; its probabilities are not read.
        rho: The measure to plan for.
        value_knots: Hat functions for each state and action.
        episodes: K.
        bonus_scale: Factor of the bonus; 0 is greedy on the estimates.
        delta: Probability that some regression misses its target.
    """

    def __init__(
        self,
        mdp: GridMDP,
        rho: RiskMeasure,
        value_knots: int,
        episodes: int,
        bonus_scale: float,
        delta: float,
    ) -> None:
        super().__init__(mdp, rho, per_return=True)
        self.features = hats(mdp.Y, value_knots)
        self.scale = bonus_scale
        self.log_union = math.log(mdp.H * mdp.S * mdp.A * mdp.Y * episodes / delta)

    def plan(self, rng: np.random.Generator) -> Solution:
        """The best policy found by climbing."""
        planner = LinearPlanner(self.mdp, self.counts, self.features, self.log_union, self.scale)
        return planner.solve(self.rho)


class ShiftedReturns(Counting):
    """Optimistic CVaR in the manner of Keramati et al. (2020), for any rho.

    The distribution of the return to go, Z_h(s, a), is backed up under the estimates, its
    distribution function lowered by c / sqrt(n), and the action is the one of the largest
    rho(Z_h(s, a)): a policy of s alone, which forgets what was collected.

    Args:
        mdp: Outcomes, rewards and first state.
        rho: The measure.
        bonus_scale: c.
    """

    def __init__(self, mdp: GridMDP, rho: RiskMeasure, bonus_scale: float) -> None:
        super().__init__(mdp, rho)
        self.scale = bonus_scale

    def plan(self, rng: np.random.Generator) -> Solution:
        """Backward induction on distributions of the return to go."""
        mdp, (probabilities, n) = self.mdp, self.empirical()
        Y, most = mdp.Y, 0
        z = np.zeros((mdp.S, Y))
        z[:, 0] = 1.0
        policy = np.empty((mdp.H, mdp.S), dtype=np.int64)
        for h in reversed(range(mdp.H)):
            most += int(mdp.rewards[h].max())
            source = np.arange(Y) - mdp.rewards[h][..., None]  # (S, A, O, Y)
            back = np.where(source >= 0, z[mdp.nexts[h][..., None], np.maximum(source, 0)], 0.0)
            levels = np.cumsum((probabilities[h] * back).sum(axis=2), axis=-1)  # (S, A, Y)
            with np.errstate(divide="ignore", invalid="ignore"):
                shift = np.where(n[h] > 0.0, self.scale / np.sqrt(n[h]), 1.0)
            levels = np.maximum(levels - shift, 0.0)
            levels[..., most:] = 1.0
            to_go = np.diff(levels, axis=-1, prepend=0.0)
            policy[h] = self.rho.of(np.broadcast_to(mdp.returns, to_go.shape), to_go).argmax(axis=1)
            z = to_go[np.arange(mdp.S), policy[h]]
        distribution = z[mdp.initial]
        value = float(self.rho.of(mdp.returns, distribution))
        return Solution(_for_all_y(policy, Y), distribution, value)


class IteratedRisk(Counting):
    """Dynamic risk, rho of (reward + value of the next state) at every step, on the estimates
    with a bonus bonus_scale (H - h) / sqrt(n); for CVaR it is `icvar`'s objective."""

    def __init__(self, mdp: GridMDP, rho: RiskMeasure, bonus_scale: float) -> None:
        super().__init__(mdp, rho)
        self.scale = bonus_scale

    def plan(self, rng: np.random.Generator) -> Solution:
        """Backward induction on values."""
        mdp, (probabilities, n) = self.mdp, self.empirical()
        tops = np.cumsum(mdp.rewards.reshape(mdp.H, -1).max(axis=1)[::-1])[::-1] * mdp.step
        values = np.zeros(mdp.S)
        policy = np.empty((mdp.H, mdp.S), dtype=np.int64)
        for h in reversed(range(mdp.H)):
            outcomes = mdp.step * mdp.rewards[h] + values[mdp.nexts[h]]
            q = self.rho.of(outcomes, probabilities[h, ..., 0])
            bonus = self.scale * tops[h] / np.sqrt(np.maximum(n[h, ..., 0], 1.0))
            q = np.where(n[h, ..., 0] > 0.0, np.minimum(q + bonus, tops[h]), tops[h])
            policy[h], values = q.argmax(axis=1), q.max(axis=1)
        return Solution(_for_all_y(policy, mdp.Y), np.empty(0), float(values[mdp.initial]))


class Oracle(Counting):
    """The planner on the true model: no regret where it is exact."""

    def plan(self, rng: np.random.Generator) -> Solution:
        """The optimum."""
        return StaticPlanner(self.mdp).solve(self.rho)


class Uniform(Counting):
    """A policy drawn uniformly for each episode."""

    def plan(self, rng: np.random.Generator) -> Solution:
        """A random policy; its return distribution is not known."""
        policy = rng.integers(self.mdp.A, size=(self.mdp.H, self.mdp.S, self.mdp.Y))
        return Solution(policy, np.empty(0), math.nan)


def _for_all_y(policy: np.ndarray, Y: int) -> np.ndarray:
    """A policy (H, S) as one that does not look at y."""
    return np.repeat(policy[..., None], Y, axis=-1)


def make_learner(config: RSDisRLConfig, mdp: GridMDP) -> Counting:
    """The learner that a config names, before its first episode."""
    rho, scale = config.measure(), config.bonus_scale
    alpha, least = config.constraint_alpha, config.least(mdp)
    if config.learner == "oracle" and least is not None:
        return ConstrainedOracle(mdp, rho, alpha, least)
    if config.learner in ("rs_disrl", "risk_neutral"):
        planned = Expectation() if config.learner == "risk_neutral" else rho
        if config.family == "linear":
            return LinearV(mdp, planned, config.value_knots, config.episodes, scale, config.delta)
        settings = (
            mdp,
            planned,
            config.family,
            config.estimator,
            config.episodes,
            scale,
            config.delta,
            config.confidence,
        )
        return RSDisRL(*settings) if least is None else Constrained(alpha, least, *settings)
    if config.learner == "keramati":
        return ShiftedReturns(mdp, rho, scale)
    if config.learner == "iterated":
        return IteratedRisk(mdp, rho, scale)
    return {"oracle": Oracle, "uniform": Uniform}[config.learner](mdp, rho)
