"""Learning from hindsight: counts of revealed states, and optimistic beta vectors.

With N the counts, L_S = log(S A H K / delta) and L_O = log(S O H K / delta), the bonus of a step
that has another one after it is (the paper's form, reconstructed)

    b_h(s, a) = |e^{gamma (H - h)} - 1| min{1, scale (sqrt(S L_S / N_h(s, a))
                + sum_{s'} T^_h(s' | s, a) sqrt(O L_O / N_{h+1}(s')))}

and all of |e^{gamma (H - h)} - 1| where (s, a) was never taken, whatever the scale above 0.
With H - h steps left from index h on, it is added for gamma > 0 and taken off for gamma < 0: both
raise (1 / gamma) log <sigma, beta>. The last step's vectors are known exactly and need none.
"""

from collections.abc import Mapping

import numpy as np

from tenfold.algorithms.risk_pomdp.beta import Plan, best_plan
from tenfold.envs.risk.pomdp import HindsightEpisode, TabularPOMDP


class HindsightLearner:
    """Beta-vector value iteration with a bonus on estimated models.

    Args:
        rewards: Known rewards (H, S, A).
        observations: Number of observations O.
        gamma: Risk parameter that is planned with.
        bonus_scale: Factor of the bonus; 0 is greedy.
        delta: Probability with which the confidence may fail.
        episodes: K, the episodes to come.
    """

    def __init__(
        self,
        rewards: np.ndarray,
        observations: int,
        gamma: float,
        bonus_scale: float,
        delta: float,
        episodes: int,
    ) -> None:
        H, S, A = rewards.shape
        self.rewards = rewards
        self.gamma = gamma
        self.bonus_scale = bonus_scale
        self.log_s = np.log(S * A * H * episodes / delta)
        self.log_o = np.log(S * observations * H * episodes / delta)
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
        H, S, _ = self.rewards.shape
        O = self.sights.shape[2]  # noqa: E741
        bonus = np.zeros(self.rewards.shape)
        if self.bonus_scale == 0.0:
            return bonus
        visits = self.moves.sum(axis=3)
        seen = np.sqrt(O * self.log_o / np.maximum(1.0, self.sights.sum(axis=2)))
        for h in range(H - 1):
            unsure = np.sqrt(S * self.log_s / np.maximum(1.0, visits[h]))
            unsure += _frequencies(self.moves[h]) @ seen[h + 1]
            share = np.where(visits[h] > 0, np.minimum(1.0, self.bonus_scale * unsure), 1.0)
            bonus[h] = abs(np.expm1(self.gamma * (H - h))) * share
        return bonus

    def plan(self) -> Plan:
        """The optimistic policy; its value is the learner's own, too good by the bonus."""
        H, bonus, sign = len(self.rewards), self.bonus(), np.sign(self.gamma)

        def change(h: int, vectors: np.ndarray) -> np.ndarray:
            most = np.exp(self.gamma * (H - h))
            moved = vectors + sign * bonus[h].T
            return np.clip(moved, min(1.0, most), max(1.0, most))

        return best_plan(self.model(), self.gamma, change)

    def get_state(self) -> dict[str, np.ndarray]:
        """All counts."""
        return {"first": self.first, "moves": self.moves, "sights": self.sights}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from counts."""
        self.first, self.moves, self.sights = state["first"], state["moves"], state["sights"]


def _frequencies(counts: np.ndarray) -> np.ndarray:
    """Shares along the last axis, uniform where there are none."""
    total = counts.sum(axis=-1, keepdims=True)
    uniform = np.full_like(counts, 1.0 / counts.shape[-1])
    shares: np.ndarray = np.divide(counts, total, out=uniform, where=total > 0)
    return shares
