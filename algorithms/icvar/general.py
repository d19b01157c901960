"""ICVaR-G: optimistic iterated CVaR over a general class of models (the paper's second algorithm).

    Q_h(s, a) = r_h(s, a) + max over P' in the confidence set of [C_{P'} V_{h+1}](s, a)
    x_h       = argmax_x width of the set's predictions of E[(x - V_{h+1}(s'))^+] at (s_h, a_h)

What the loop needs of a class is the protocol `ModelClass`; here are the finite and the linear one.
"""

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from tenfold.algorithms.icvar.linear import confidence_radius
from tenfold.algorithms.icvar.operators import grid_cvar, shortfalls, step_grids, uniform_grid
from tenfold.algorithms.icvar.planner import Solution
from tenfold.algorithms.icvar.regression import Regression
from tenfold.envs.risk.mdp import Episode
from tenfold.envs.risk.mixture import Mixture


class ModelClass(Protocol):
    """A class of models with its confidence sets, one for each step h."""

    def refresh(self) -> None:
        """Set the confidence sets from all that was added; called before planning."""

    def optimistic(self, h: int, grid: np.ndarray, values: np.ndarray) -> np.ndarray:
        """max over the set of CVaR_alpha(V(s')), (S, A), for x on the grid (X,) and V (S,)."""

    def widths(self, states: np.ndarray, actions: np.ndarray, clipped: np.ndarray) -> np.ndarray:
        """Diameter of each step's predictions of E[(x - V)^+], (H, X), for `clipped` (H, X, S)."""

    def add(
        self, states: np.ndarray, actions: np.ndarray, clipped: np.ndarray, targets: np.ndarray
    ) -> None:
        """Learn that (x - V(s'))^+, (H, S) as functions of s', were seen as `targets`, (H,)."""

    def covers(self, task: Mixture) -> bool:
        """Whether the true kernel of every step is in its set."""

    def get_state(self) -> dict[str, np.ndarray]:
        """The memory as arrays."""

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `get_state`."""


def spread(predicted: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Largest difference of the predictions (H, M, X) of those models that are inside (H, M)."""
    kept = inside[:, :, None]
    highest = np.where(kept, predicted, -np.inf).max(axis=1)
    wide: np.ndarray = highest - np.where(kept, predicted, np.inf).min(axis=1)
    return wide


class FiniteClass:
    """Finitely many models; the sets are exact.

    The estimate is the model of least squared error, the set all models whose squared distance to
    it on the past is at most gamma^2. Losses and pairwise distances are sums, so a transition
    costs O(M^2) and no history is kept.

    Args:
        models: (M, S, A, S) float64, shared by the steps.
        H: Steps.
        alpha: Risk level.
        delta: Probability of a set that misses the truth.
        bonus_scale: Factor of gamma = H sqrt(2 log(M H / delta)), see README.md.
    """

    def __init__(
        self, models: np.ndarray, H: int, alpha: float, delta: float, bonus_scale: float
    ) -> None:
        M = len(models)
        self.models = models
        self.alpha = alpha
        self.gamma = bonus_scale * H * math.sqrt(2.0 * math.log(M * H / delta))
        self.losses = np.zeros((H, M))
        self.distances = np.zeros((H, M, M))
        self.refresh()

    def refresh(self) -> None:
        best = self.losses.argmin(axis=1)
        off = np.take_along_axis(self.distances, best[:, None, None], axis=1)[:, 0]
        self.inside = off <= self.gamma**2  # (H, M)

    def optimistic(self, h: int, grid: np.ndarray, values: np.ndarray) -> np.ndarray:
        inside = self.models[self.inside[h]]
        best: np.ndarray = grid_cvar(grid, values, inside, self.alpha).max(axis=0)
        return best

    def widths(self, states: np.ndarray, actions: np.ndarray, clipped: np.ndarray) -> np.ndarray:
        predicted = self._at(states, actions) @ clipped.transpose(0, 2, 1)  # (H, M, X)
        return spread(predicted, self.inside)

    def add(
        self, states: np.ndarray, actions: np.ndarray, clipped: np.ndarray, targets: np.ndarray
    ) -> None:
        predicted = (self._at(states, actions) @ clipped[:, :, None])[..., 0]  # (H, M)
        self.losses += (predicted - targets[:, None]) ** 2
        self.distances += (predicted[:, :, None] - predicted[:, None, :]) ** 2

    def _at(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """The models' probabilities at an episode's states and actions, (H, M, S)."""
        return self.models[:, states, actions].transpose(1, 0, 2)

    def covers(self, task: Mixture) -> bool:
        truth = task.mdp.transitions[:, None]
        same = np.abs(self.models[None] - truth).max(axis=(2, 3, 4)) < 1e-12  # (H, M)
        return bool((same & self.inside).any(axis=1).all())

    def get_state(self) -> dict[str, np.ndarray]:
        return {"losses": self.losses, "distances": self.distances}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.losses = state["losses"].copy()
        self.distances = state["distances"].copy()


def known_weights(task: Mixture) -> np.ndarray:
    """The weights of a task's true and base kernels, each once, (n, d)."""
    return np.unique(np.concatenate([task.theta, np.eye(task.d)]), axis=0)


def mixtures(task: Mixture, size: int, seed: int) -> np.ndarray:
    """A finite class around a task: true and base kernels and random mixtures, in random order.

    Args:
        task: The true model.
        size: Models M, more than the true and base kernels.
        seed: Of the random mixtures.

    Returns:
        (M, S, A, S) float64.
    """
    known = known_weights(task)
    rng = np.random.default_rng(seed)
    weights = np.concatenate([known, rng.dirichlet(np.ones(task.d), size - len(known))])
    models: np.ndarray = np.einsum("mi,isat->msat", rng.permutation(weights), task.kernels)
    return models


class LinearClass:
    """Linear mixtures, with the ellipsoids of ICVaR-L for sets.

    max over ||theta - theta_h||_{Lambda_h} <= beta of C_theta V is one maximum over x of estimate
    and bonus together, so it is never above ICVaR-L's, which takes the two maxima apart.

    Args:
        task: The base kernels; its true mixture is read by `covers` only.
        alpha: Risk level.
        episodes: K.
        delta: Probability of a set that misses the truth.
        bonus_scale: Factor of beta.
        lambda_: Ridge lambda; H^2 when None.
    """

    def __init__(
        self,
        task: Mixture,
        alpha: float,
        episodes: int,
        delta: float,
        bonus_scale: float,
        lambda_: float | None = None,
    ) -> None:
        self.regression = Regression(task, lambda_)
        self.beta = bonus_scale * confidence_radius(
            task.d, task.mdp.H, episodes, delta, self.regression.ridge
        )
        self.alpha = alpha
        self.shape = (task.mdp.S, task.mdp.A)

    def refresh(self) -> None:
        self.regression.solve()

    def optimistic(self, h: int, grid: np.ndarray, values: np.ndarray) -> np.ndarray:
        clipped = shortfalls(grid, values)
        lowest = self.regression.means(h, clipped)
        lowest -= self.beta * np.sqrt(self.regression.squares(h, clipped))
        best: np.ndarray = (grid[:, None] - lowest / self.alpha).max(axis=0).reshape(self.shape)
        return best

    def widths(self, states: np.ndarray, actions: np.ndarray, clipped: np.ndarray) -> np.ndarray:
        psi = self.regression.features(states, actions, clipped)
        return 2.0 * self.beta * self.regression.norms(psi)

    def add(
        self, states: np.ndarray, actions: np.ndarray, clipped: np.ndarray, targets: np.ndarray
    ) -> None:
        psi = self.regression.features(states, actions, clipped[:, None])
        self.regression.add(psi[:, 0], targets)

    def covers(self, task: Mixture) -> bool:
        return bool((self.regression.errors(task) <= self.beta).all())

    def get_state(self) -> dict[str, np.ndarray]:
        return self.regression.get_state()

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.regression.set_state(state)


class ICVaRG:
    """The learner over a model class.

    Args:
        task: Rewards and horizon; its kernels are not read here.
        models: The class.
        epsilon: Step of the uniform grid; None takes the values of V for the grid, which is exact.

    Raises:
        ValueError: The grid is too coarse or too fine.
    """

    def __init__(self, task: Mixture, models: ModelClass, epsilon: float | None = None) -> None:
        self.task = task
        self.models = models
        self.points = None if epsilon is None else uniform_grid(task.mdp.H, epsilon)
        self.slack = 0.0 if epsilon is None else 2.0 * epsilon
        self.values = np.zeros((task.mdp.H + 1, task.mdp.S))

    def plan(self, rng: np.random.Generator) -> Solution:
        """Backward induction, optimistic over the confidence sets; `rng` is not needed."""
        mdp = self.task.mdp
        self.models.refresh()
        self.values = np.zeros((mdp.H + 1, mdp.S))
        policy = np.empty((mdp.H, mdp.S), dtype=np.int64)
        for h in reversed(range(mdp.H)):
            grid = step_grids(self.points, self.values)[h]
            risk = self.models.optimistic(h, grid, self.values[h + 1])
            q = mdp.rewards[h] + risk + self.slack
            policy[h] = q.argmax(axis=-1)
            self.values[h] = np.clip(q.max(axis=-1), 0.0, mdp.H - h)
        return Solution(policy, self.values)

    def update(self, episode: Episode) -> None:
        """Learn an episode of the last policy, at each step with the x that is the least known."""
        steps = np.arange(self.task.mdp.H)
        states, after = episode.states[:-1], episode.states[1:]
        clipped = shortfalls(step_grids(self.points, self.values), self.values[1:])  # (H, X, S)
        x = self.models.widths(states, episode.actions, clipped).argmax(axis=-1)
        self.models.add(states, episode.actions, clipped[steps, x], clipped[steps, x, after])

    def get_state(self) -> dict[str, np.ndarray]:
        """The class's memory."""
        return self.models.get_state()

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `get_state`."""
        self.models.set_state(state)
