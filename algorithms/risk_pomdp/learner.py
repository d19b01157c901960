"""Learning from hindsight: counts of revealed states, and the bonus of optimism.

With N the counts, the total variation between an empirical distribution of n outcomes and the true
one is at most w_n(N) = sqrt((n log 2 + log(3 M / delta)) / (2 N)), for M distributions and counts
at once with probability 1 - delta / 3 (Weissman et al., 2003), and 1 where N = 0. The reward that
is still to come after step h lies in [low_{h+1}, high_{h+1}], so a step's probabilities err by at
most

    b_h(s, a) = e^{gamma r_h(s, a)} |e^{gamma high_{h+1}} - e^{gamma low_{h+1}}|
                min{1, scale (w_S(N_h(s, a)) + sum_{s'} T^_h(s' | s, a) w_O(N_{h+1}(s')))}

at scale 1, and by all of it where (s, a) was never taken, whatever the scale above 0. It is added
for gamma > 0 and taken off for gamma < 0: both raise (1 / gamma) log. The last step's rewards are
known and need no bonus; the distribution of the first state and observation has one of the same
form. (The form is the paper's, reconstructed, with constants derived in README.md.)

Likelihood makes other widths, of Bernstein's kind. With eps = (log(3 M / delta) + (n - 1) / 2 log(N
+ 1) + log 2) / N the divergence KL(empirical || true) is at most eps for all counts at once (see
`likelihood_radius`), and then, for the variance v of the event that is the least certain,

    w = min{1, sqrt(eps / 2), eps + sqrt(eps^2 + 2 eps v)}

(Pinsker; kl(p, u) >= (u - p)^2 / (2 (p (1 - p) + u - p)) for u > p), which falls as 1 / N where the
outcome is nearly certain.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from tenfold.algorithms.common.likelihood_radius import likelihood_radius
from tenfold.algorithms.risk_pomdp.optimism import (
    OptimisticSolution,
    plan_optimistically,
    rewards_to_come,
)
from tenfold.algorithms.risk_pomdp.point_based import PointBasedPlanner
from tenfold.envs.risk.pomdp import HindsightEpisode, TabularPOMDP

Confidence = Literal["variation", "likelihood"]


class HindsightLearner:
    """Optimistic planning on frequencies.

    Args:
        rewards: Known rewards (H, S, A).
        observations: Number of observations O.
        gamma: Risk parameter that is planned with.
        bonus_scale: Factor of the bonus; 0 is greedy, 1 is the theory's.
        delta: Probability with which the confidence may fail.
        episodes: K, the episodes to come.
        confidence: Which widths.
    """

    def __init__(
        self,
        rewards: np.ndarray,
        observations: int,
        gamma: float,
        bonus_scale: float,
        delta: float,
        episodes: int,
        confidence: Confidence = "variation",
    ) -> None:
        H, S, A = rewards.shape
        self.rewards = rewards
        self.gamma = gamma
        self.bonus_scale = bonus_scale
        self.confidence = confidence
        # Likelihood's widths hold at all counts at once.
        failures = 3 * (episodes if confidence == "variation" else 1) / delta
        self.log_first = np.log(failures)
        self.log_moves = np.log(S * A * max(1, H - 1) * failures)
        self.log_sights = np.log(S * H * failures)
        low, high = np.exp(gamma * np.stack(rewards_to_come(rewards)))
        spans = np.abs(high - low)  # (H + 1,), 0 at the end
        self.first_weight = spans[0]
        self.weight = np.exp(gamma * rewards) * spans[1:, None, None]  # (H, S, A)
        self.first = np.zeros(S)
        self.moves = np.zeros((H, S, A, S))
        self.sights = np.zeros((H, S, observations))

    def update(self, episode: HindsightEpisode) -> None:
        """Count an episode, hidden states included."""
        steps = np.arange(len(episode.states))
        self.first[episode.states[0]] += 1
        self.sights[steps, episode.states, episode.observations] += 1
        before = (steps[:-1], episode.states[:-1], episode.actions[:-1], episode.states[1:])
        self.moves[before] += 1

    def model(self) -> TabularPOMDP:
        """Frequencies; uniform where nothing was counted."""
        return TabularPOMDP(
            _frequencies(self.moves),
            _frequencies(self.sights),
            self.rewards,
            _frequencies(self.first),
        )

    def bonus(self) -> np.ndarray:
        """b_h(s, a), (H, S, A); 0 at the last step."""
        visits = self.moves[:-1].sum(axis=3)
        unsure = self._width(self.moves[:-1], self.log_moves)
        unsure += np.einsum("hsat,ht->hsa", _frequencies(self.moves[:-1]), self._blurred()[1:])
        bonus = np.zeros(self.rewards.shape)
        bonus[:-1] = self.weight[:-1] * self._share(unsure, visits)
        return bonus

    def first_bonus(self) -> float:
        """The same of the first state and its observation, whatever the policy."""
        known = self.first.sum()
        unsure = self._width(self.first, self.log_first)
        unsure += _frequencies(self.first) @ self._blurred()[0]
        return float(self.first_weight * self._share(unsure, known))

    def plan(self) -> OptimisticSolution:
        """The optimistic policy; its value is the learner's own, too good by the bonus."""
        return plan_optimistically(self.model(), self.gamma, self.bonus(), self.first_bonus())

    def plan_point_based(self, gap: float, trials: int) -> OptimisticSolution:
        """The same by point-based search, at any horizon; its value is the upper bound.

        Args:
            gap: See `PointBasedPlanner.solve`.
            trials: Likewise.
        """
        planner = PointBasedPlanner(self.model(), self.gamma, self.bonus())
        found = planner.solve(gap, trials)
        worth = np.exp(self.gamma * found.upper) + np.sign(self.gamma) * self.first_bonus()
        ends = self.gamma * np.stack(rewards_to_come(self.rewards))[:, 0]
        value = np.log(np.clip(worth, *np.exp(np.sort(ends)))) / self.gamma
        return OptimisticSolution(found.controller, float(value))

    def _blurred(self) -> np.ndarray:
        """w_O(N_h(s)), (H, S)."""
        return self._width(self.sights, self.log_sights)

    def _width(self, counts: np.ndarray, log_failures: float) -> np.ndarray:
        """Total variation that frequencies of counts (..., n) may be off by, (...)."""
        return {"variation": variation_width, "likelihood": likelihood_width}[self.confidence](
            counts, log_failures
        )

    def _share(self, unsure: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The share of its weight that a bonus has: all where nothing was counted."""
        if self.bonus_scale == 0.0:
            return np.zeros_like(unsure)
        return np.where(counts > 0, np.minimum(1.0, self.bonus_scale * unsure), 1.0)

    def get_state(self) -> dict[str, np.ndarray]:
        """All counts."""
        return {"first": self.first, "moves": self.moves, "sights": self.sights}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from counts."""
        self.first, self.moves, self.sights = state["first"], state["moves"], state["sights"]


def variation_width(counts: np.ndarray, log_failures: float) -> np.ndarray:
    """w_n(N) of counts (..., n), at most 1: (...)."""
    seen = counts.sum(axis=-1)
    spread = (counts.shape[-1] * np.log(2.0) + log_failures) / (2.0 * np.maximum(seen, 1.0))
    width: np.ndarray = np.where(seen > 0, np.minimum(1.0, np.sqrt(spread)), 1.0)
    return width


def likelihood_width(counts: np.ndarray, log_failures: float) -> np.ndarray:
    """The same from the likelihood, see the module's text."""
    seen = counts.sum(axis=-1)
    excess = likelihood_radius(seen, counts.shape[-1], log_failures) / np.maximum(seen, 1.0)
    likeliest = _frequencies(counts).max(axis=-1)
    # An event or its complement leaves the likeliest outcome out.
    variance = np.where(likeliest > 0.5, likeliest * (1.0 - likeliest), 0.25)
    narrow = excess + np.sqrt(excess**2 + 2.0 * excess * variance)
    width = np.minimum(np.minimum(1.0, np.sqrt(excess / 2.0)), narrow)
    return np.where(seen > 0, width, 1.0)


def _frequencies(counts: np.ndarray) -> np.ndarray:
    """Shares along the last axis, uniform where there are none."""
    total = counts.sum(axis=-1, keepdims=True)
    uniform = np.full_like(counts, 1.0 / counts.shape[-1])
    shares: np.ndarray = np.divide(counts, total, out=uniform, where=total > 0)
    return shares
