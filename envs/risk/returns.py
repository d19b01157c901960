"""MDPs with rewards on a grid, the augmented state (s, y), and exact return distributions.

A reward is a whole number of grid steps, so the reward collected so far, y, is one too, and a
policy that looks at y is an int array (H, S, Y): what static risk needs, where a policy of s alone
may lose. Each (h, s, a) has O possible outcomes, a next state and a reward drawn together.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tenfold.envs.risk.mdp import check_probabilities
from tenfold.envs.risk.measures import RiskMeasure
from tenfold.envs.risk.scale import SAME, Unit


@dataclass(frozen=True)
class AugmentedEpisode:
    """An episode: states (H + 1,), y before each step and at the end (H + 1,), actions and
    outcomes (H,), all int, and its return in reward units."""

    states: np.ndarray
    collected: np.ndarray
    actions: np.ndarray
    outcomes: np.ndarray
    total: float


@dataclass(frozen=True, eq=False)
class GridMDP:
    """A finite-horizon MDP whose rewards are multiples of `step`.

    Attributes:
        nexts: Next state of each outcome, (H, S, A, O) int.
        rewards: Reward of each outcome in grid steps, (H, S, A, O) int, at least 0.
        probabilities: Of each outcome, (H, S, A, O) float64; unused places repeat an outcome
            with probability 0.
        initial: First state.
        step: Reward of one grid step, above 0.
        unit: The unit of returns before rewards were counted from the least one.

    Raises:
        ValueError: Shapes, states, rewards or probabilities that do not make an MDP.
    """

    nexts: np.ndarray
    rewards: np.ndarray
    probabilities: np.ndarray
    initial: int
    step: float
    unit: Unit = SAME

    def __post_init__(self) -> None:
        shape = np.shape(self.probabilities)
        if len(shape) != 4 or 0 in shape:
            raise ValueError(f"'probabilities' must be of shape (H, S, A, O), not {shape}.")
        for name in ("nexts", "rewards"):
            if np.shape(getattr(self, name)) != shape:
                raise ValueError(
                    f"'{name}' must be of shape {shape} like 'probabilities', not "
                    f"{np.shape(getattr(self, name))}."
                )
        check_probabilities("probabilities", self.probabilities)
        if not self.step > 0.0:
            raise ValueError(f"Bad value {self.step} for 'step': give a grid step above 0.")
        if self.rewards.min() < 0:
            raise ValueError("'rewards' must not be negative: shift them by a constant.")
        if not (self.nexts.min() >= 0 and self.nexts.max() < shape[1]):
            raise ValueError(f"'nexts' must name states from 0 to {shape[1] - 1}.")

    @property
    def H(self) -> int:
        """Steps of an episode."""
        return int(self.probabilities.shape[0])

    @property
    def S(self) -> int:
        """Number of states."""
        return int(self.probabilities.shape[1])

    @property
    def A(self) -> int:
        """Number of actions."""
        return int(self.probabilities.shape[2])

    @cached_property
    def Y(self) -> int:
        """Points of the return grid: 0 to the largest possible return."""
        return int(self.rewards.reshape(self.H, -1).max(axis=1).sum()) + 1

    @cached_property
    def returns(self) -> np.ndarray:
        """The return grid in reward units, (Y,)."""
        return self.step * np.arange(self.Y)

    @cached_property
    def _levels(self) -> np.ndarray:
        return np.cumsum(self.probabilities, axis=-1)

    def play(self, policy: np.ndarray, rng: np.random.Generator) -> AugmentedEpisode:
        """One episode.

        Args:
            policy: (H, S, Y) int.
            rng: H uniform numbers are drawn.
        """
        states, collected = np.empty(self.H + 1, int), np.empty(self.H + 1, int)
        actions, outcomes = np.empty(self.H, int), np.empty(self.H, int)
        states[0], collected[0] = self.initial, 0
        for h, draw in enumerate(rng.random(self.H)):
            s, y = states[h], collected[h]
            a = policy[h, s, y]
            levels = self._levels[h, s, a]
            o = np.searchsorted(levels, draw * levels[-1], side="right")
            actions[h], outcomes[h] = a, o
            states[h + 1] = self.nexts[h, s, a, o]
            collected[h + 1] = y + self.rewards[h, s, a, o]
        return AugmentedEpisode(
            states, collected, actions, outcomes, float(self.step * collected[-1])
        )

    def return_distribution(
        self, policy: np.ndarray, weights: np.ndarray | None = None
    ) -> np.ndarray:
        """The exact distribution of the return on the grid, by forward convolution.

        Args:
            policy: (H, S, Y) int.
            weights: Outcome probabilities to use instead of the MDP's, under the policy's actions,
                (H, S, Y, O).

        Returns:
            (Y,) probabilities.
        """
        states, ys = np.arange(self.S)[:, None], np.arange(self.Y)
        mass = np.zeros((self.S, self.Y))
        mass[self.initial, 0] = 1.0
        for h in range(self.H):
            w = self.probabilities[h, states, policy[h]] if weights is None else weights[h]
            to_y = np.minimum(ys[:, None] + self.rewards[h, states, policy[h]], self.Y - 1)
            to = self.nexts[h, states, policy[h]] * self.Y + to_y  # (S, Y, O)
            flow = np.bincount(to.ravel(), (mass[..., None] * w).ravel(), self.S * self.Y)
            mass[:] = flow.reshape(self.S, self.Y)
        return mass.sum(axis=0)

    def risk(self, rho: RiskMeasure, policy: np.ndarray) -> float:
        """rho of the return of a policy (H, S, Y), exactly."""
        return float(rho.of(self.returns, self.return_distribution(policy)))


def project(values: np.ndarray, probabilities: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The categorical projection of a distribution onto a grid: mass goes to the two neighbours.

    It keeps the mean; other measures move by at most their Lipschitz constant in W_1 times the
    grid step (each unit of mass travels less than one step).

    Args:
        values: (n,) within the grid.
        probabilities: (n,) float64.
        grid: (m,) ascending, m at least 2.

    Returns:
        (m,) probabilities.

    Raises:
        ValueError: A value is outside the grid.
    """
    if values.min() < grid[0] or values.max() > grid[-1]:
        raise ValueError(
            f"The grid from {grid[0]:g} to {grid[-1]:g} does not cover the values from "
            f"{values.min():g} to {values.max():g}: widen it."
        )
    below = np.clip(np.searchsorted(grid, values, side="right") - 1, 0, len(grid) - 2)
    share = (values - grid[below]) / (grid[below + 1] - grid[below])
    low = np.bincount(below, probabilities * (1.0 - share), len(grid))
    projected: np.ndarray = low + np.bincount(below + 1, probabilities * share, len(grid))
    return projected
