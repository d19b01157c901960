"""Learning without hindsight: expectation maximisation on observations and actions (Baum-Welch).

The baseline that shows what hindsight is worth. Expected counts of hidden states, given what was
seen, take the place of counts; frequencies, bonus and planning are those of `HindsightLearner`.
Two handicaps are the problem's, not the learner's: the likelihood has many maxima, and states are
identified by their probabilities alone, so nothing tells which of them is the one that pays.
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import xlogy

from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.envs.risk.pomdp import HindsightEpisode, TabularPOMDP

SWEEPS = 2  # of expectation maximisation an episode, from where the last one stopped


class BaumWelchLearner(HindsightLearner):
    """Hidden states are never read.

    Args:
        rewards: Known rewards (H, S, A).
        observations: Number of observations O.
        gamma: See `HindsightLearner`, as all that follows.
        bonus_scale: Factor of the bonus.
        delta: Of the bonus.
        episodes: K.
        rng: Draws the prior: one imagined draw from random distributions, so that nothing has
            chance 0 and states differ from the first sweep on.
    """

    def __init__(
        self,
        rewards: np.ndarray,
        observations: int,
        gamma: float,
        bonus_scale: float,
        delta: float,
        episodes: int,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(rewards, observations, gamma, bonus_scale, delta, episodes)
        super().model().check_histories()
        H, S, A = rewards.shape
        self.seen = np.zeros(observations * (A * observations) ** (H - 1))
        self.prior = {
            "first": rng.dirichlet(np.ones(S)),
            "moves": rng.dirichlet(np.ones(S), size=(H, S, A)),
            "sights": rng.dirichlet(np.ones(observations), size=(H, S)),
        }

    def update(self, episode: HindsightEpisode) -> None:
        """Count the history, and make a few sweeps."""
        A, O = self.moves.shape[2], self.sights.shape[2]  # noqa: E741
        history = int(episode.observations[0])
        for a, o in zip(episode.actions[:-1], episode.observations[1:], strict=True):
            history = (history * A + int(a)) * O + int(o)
        self.seen[history] += 1
        for _ in range(SWEEPS):
            self.sweep()

    def sweep(self) -> float:
        """One expectation and maximisation.

        Returns:
            Log-likelihood plus log-prior of the model that it started from, up to a constant.
        """
        start = self.model()
        parts = {"first": start.initial, "moves": start.transitions, "sights": start.emissions}
        self.first, self.moves, self.sights, likelihood = expected_counts(start, self.seen)
        return likelihood + sum(
            float(xlogy(self.prior[key], part).sum()) for key, part in parts.items()
        )

    def model(self) -> TabularPOMDP:
        """Frequencies of expected counts, and of one imagined draw from each prior."""
        first, moves, sights = (
            counts + self.prior[key] for key, counts in super().get_state().items()
        )
        return TabularPOMDP(
            moves / moves.sum(axis=-1, keepdims=True),
            sights / sights.sum(axis=-1, keepdims=True),
            self.rewards,
            first / first.sum(),
        )

    def get_state(self) -> dict[str, np.ndarray]:
        """Expected counts, histories, and the prior."""
        prior = {f"prior_{key}": value for key, value in self.prior.items()}
        return {**super().get_state(), "seen": self.seen, **prior}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from them."""
        super().set_state(state)
        self.seen = state["seen"]
        self.prior = {key: state[f"prior_{key}"] for key in self.prior}


def expected_counts(
    model: TabularPOMDP, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Expected counts of hidden states given histories, by forward and backward messages.

    Args:
        model: Its probabilities.
        seen: How often each full history (o_0, a_0, ..., o_{H-1}) was seen.

    Returns:
        Counts of first states (S,), moves (H, S, A, S), 0 at the last step, and sights (H, S, O);
        and the log-likelihood of the observations given the actions.
    """
    H, S, A, O = model.H, model.S, model.A, model.O  # noqa: E741
    rest = np.flatnonzero(seen)
    times = seen[rest]
    observations, actions = np.empty((H, len(rest)), int), np.empty((H - 1, len(rest)), int)
    for h in range(H - 1, 0, -1):
        rest, observations[h] = np.divmod(rest, O)
        rest, actions[h - 1] = np.divmod(rest, A)
    observations[0] = rest
    sees = [model.emissions[h][:, observations[h]].T for h in range(H)]  # (histories, S)
    # Of each history's move from s to s', (histories, S, S).
    moves = [model.transitions[h][:, actions[h]].swapaxes(0, 1) for h in range(H - 1)]
    forward, backward = [model.initial * sees[0]], [np.ones((len(rest), S))]
    for h in range(H - 1):
        forward.append(np.einsum("is,ist->it", forward[h], moves[h]) * sees[h + 1])
    for h in reversed(range(H - 1)):
        backward.insert(0, np.einsum("ist,it->is", moves[h], sees[h + 1] * backward[0]))
    chance = forward[-1].sum(axis=1)
    weight = times / chance
    counted, sights = np.zeros((H, S, A, S)), np.zeros((H, S, O))
    for h in range(H):
        here = weight[:, None] * forward[h] * backward[h]  # (histories, S)
        np.add.at(sights[h].T, observations[h], here)
        if h < H - 1:
            ahead = sees[h + 1] * backward[h + 1]
            pairs = np.einsum("i,is,ist,it->ist", weight, forward[h], moves[h], ahead)
            np.add.at(counted[h].swapaxes(0, 1), actions[h], pairs)
    first = (weight[:, None] * forward[0] * backward[0]).sum(axis=0)
    return first, counted, sights, float(times @ np.log(chance))
