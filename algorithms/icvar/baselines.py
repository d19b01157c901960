"""What ICVaR is compared with: a tabular bonus, greed, the optimum and chance.

All have the learner's shape: `plan(rng)`, `update(episode)`, `get_state`, `set_state`.
"""

import math
from collections.abc import Mapping

import numpy as np

from tenfold.algorithms.icvar.linear import ICVaRL
from tenfold.algorithms.icvar.operators import exact_cvar
from tenfold.algorithms.icvar.planner import IteratedCVaR, Solution
from tenfold.algorithms.icvar.stationary import StationaryCVaR
from tenfold.envs.risk.mdp import Episode, TabularMDP
from tenfold.envs.risk.mixture import Mixture


class TabularUCB:
    """Counts and a bonus for each (s, a, h), in the manner of ICVaR-RM.

    Q_h = r_h + CVaR under the empirical distribution of V_{h+1} + ((H - h) / alpha) sqrt(log(HSAK /
    delta) / (2 n)), and H - h + 1 where (s, a) was never taken. By Hoeffding at the maximiser x of
    the true CVaR of V* the bonus is valid (our derivation); Du et al. (2023) have the same form.

    Args:
        mdp: The rewards and shapes; its transitions are not read.
        alpha: Risk level.
        episodes: K.
        bonus_scale: Factor of the bonus.
        delta: Probability of a bonus that is too small.
    """

    def __init__(
        self, mdp: TabularMDP, alpha: float, episodes: int, bonus_scale: float, delta: float
    ) -> None:
        self.mdp = mdp
        self.alpha = alpha
        self.counts = np.zeros(mdp.transitions.shape)
        union = math.log(mdp.H * mdp.S * mdp.A * episodes / delta)
        self.scale = bonus_scale / alpha * math.sqrt(union / 2.0)

    def plan(self, rng: np.random.Generator) -> Solution:
        """Backward induction with empirical probabilities and the bonus."""
        mdp = self.mdp
        values = np.zeros((mdp.H + 1, mdp.S))
        policy = np.empty((mdp.H, mdp.S), dtype=np.int64)
        visits = self.counts.sum(axis=-1)  # (H, S, A)
        for h in reversed(range(mdp.H)):
            n = np.maximum(visits[h], 1.0)
            left = mdp.H - h
            risk = exact_cvar(self.counts[h] / n[..., None], values[h + 1], self.alpha)
            q = mdp.rewards[h] + risk + (left - 1) * self.scale / np.sqrt(n)
            q = np.where(visits[h] > 0.0, np.minimum(q, left), left)
            policy[h] = q.argmax(axis=-1)
            values[h] = q.max(axis=-1)
        return Solution(policy, values)

    def update(self, episode: Episode) -> None:
        """Count an episode's transitions."""
        steps = np.arange(self.mdp.H)
        self.counts[steps, episode.states[:-1], episode.actions, episode.states[1:]] += 1.0

    def get_state(self) -> dict[str, np.ndarray]:
        """How often each transition was seen, (H, S, A, S)."""
        return {"counts": self.counts}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `get_state`."""
        self.counts = state["counts"].copy()


class EpsilonGreedy(ICVaRL):
    """The estimate of ICVaR-L without bonus, and now and then a random action.

    Which states get a random action is drawn for the whole episode in advance, so that its policy
    is deterministic and its regret exact.

    Args:
        task: Base kernels, rewards and horizon.
        alpha: Risk level.
        exploration: Probability of a random action at each (h, s).
        lambda_: Ridge lambda; H^2 when None.
    """

    def __init__(
        self, task: Mixture, alpha: float, exploration: float, lambda_: float | None = None
    ) -> None:
        super().__init__(task, alpha, episodes=1, bonus_scale=0.0, delta=1.0, lambda_=lambda_)
        self.exploration = exploration

    def plan(self, rng: np.random.Generator) -> Solution:
        """The greedy policy with random actions here and there."""
        greedy = super().plan(rng)
        anything = rng.integers(self.task.mdp.A, size=greedy.policy.shape)
        explore = rng.random(greedy.policy.shape) < self.exploration
        return Solution(np.where(explore, anything, greedy.policy), greedy.values)


class Memoryless:
    """A learner that learns nothing."""

    def update(self, episode: Episode) -> None:
        """Nothing."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Nothing."""


class Oracle(Memoryless):
    """The optimal policy of the true model: no regret."""

    def __init__(self, planner: IteratedCVaR | StationaryCVaR) -> None:
        self.solution = planner.optimal()

    def plan(self, rng: np.random.Generator) -> Solution:
        """The optimum."""
        return self.solution


class Uniform(Memoryless):
    """A policy drawn uniformly for each episode."""

    def __init__(self, mdp: TabularMDP) -> None:
        self.mdp = mdp

    def plan(self, rng: np.random.Generator) -> Solution:
        """A random policy; its values are not known, hence 0."""
        policy = rng.integers(self.mdp.A, size=(self.mdp.H, self.mdp.S))
        return Solution(policy, np.zeros((self.mdp.H + 1, self.mdp.S)))
