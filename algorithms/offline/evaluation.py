"""Many episodes at once in batched environments, and what a policy is worth in them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tenfold.envs.offline.environments import BatchedEnvironments

Act = Callable[[np.ndarray], np.ndarray]
"""Observations (W, n, o) -> actions (W, n, m)."""


@dataclass(frozen=True)
class Evaluation:
    """What was seen in one episode of each environment.

    Attributes:
        returns: Summed rewards, float64 (W, n).
        discounted: The same with discount gamma.
        length: Steps.
        first: Observations and actions at the start, (W, n, o) and (W, n, m).
        last: Observations at the end, (W, n, o).
        clipped: Share of actions' entries that lie on a bound.
    """

    returns: np.ndarray
    discounted: np.ndarray
    length: int
    first: tuple[np.ndarray, np.ndarray]
    last: np.ndarray
    clipped: float

    @property
    def scores(self) -> np.ndarray:
        """Mean over agents of the returns, (W,): the score of an episode in this field."""
        return self.returns.mean(axis=1)


def evaluate_policy(
    environments: BatchedEnvironments, act: Act, seed: int, gamma: float
) -> Evaluation:
    """Play one episode in each environment.

    Args:
        environments: The environments.
        act: The policy.
        seed: Of the environments' starts.
        gamma: Discount of `Evaluation.discounted`.
    """
    start = obs = environments.reset(seed)
    returns, discounted = np.zeros(obs.shape[:2]), np.zeros(obs.shape[:2])
    clipped, length, done = 0.0, 0, False
    while not done:
        actions = act(obs)
        if length == 0:
            first = (start, actions)
        obs, rewards, done = environments.step(actions)
        returns += rewards
        discounted += gamma**length * rewards
        clipped += float((np.abs(actions) >= 1).mean())
        length += 1
    return Evaluation(returns, discounted, length, first, obs, clipped / length)
