"""ICVaR-L: optimistic iterated CVaR on linear mixtures (the paper's first algorithm).

    Q_h(s, a) = r_h(s, a) + [C_{theta_h} V_{h+1}](s, a) + 2 eps
                + (beta / alpha) max_x ||psi_x(s, a)||_{Lambda_h^{-1}}
    V_h(s)    = min( max_a Q_h(s, a), H - h + 1 ),        pi_h greedy

We clip at the number of steps left, where the specification clips at H: both are bounds of the true
values, and the former keeps the factors 1 / alpha smaller.
"""

import math
from collections.abc import Mapping

import numpy as np

from tenfold.algorithms.icvar.operators import shortfalls, step_grids, uniform_grid
from tenfold.algorithms.icvar.planner import Solution
from tenfold.algorithms.icvar.regression import Regression
from tenfold.envs.risk.mdp import Episode
from tenfold.envs.risk.mixture import Mixture


def confidence_radius(d: int, H: int, episodes: int, delta: float, lambda_: float) -> float:
    """beta = H sqrt(d log((H + K H^3) / delta)) + sqrt(lambda).

    README.md ("The bonus") derives why this covers the true theta with probability 1 - delta.
    """
    return H * math.sqrt(d * math.log((H + episodes * H**3) / delta)) + math.sqrt(lambda_)


class ICVaRL:
    """The learner; its memory is Lambda and b.

    Args:
        task: Base kernels, rewards and horizon; its true mixture is never read.
        alpha: Risk level that it plans for.
        episodes: K, the number of episodes that the constants are set for.
        bonus_scale: Factor of beta.
        delta: Probability of a confidence set that misses the truth.
        lambda_: Ridge lambda; H^2 when None.
        epsilon: Step of the uniform grid; None takes the values of V for the grid, which is exact.

    Raises:
        ValueError: The grid is too coarse or too fine.
    """

    def __init__(
        self,
        task: Mixture,
        alpha: float,
        episodes: int,
        bonus_scale: float,
        delta: float,
        lambda_: float | None = None,
        epsilon: float | None = None,
    ) -> None:
        H = task.mdp.H
        self.task = task
        self.alpha = alpha
        self.regression = Regression(task, lambda_)
        self.beta = bonus_scale * confidence_radius(
            task.d, H, episodes, delta, self.regression.ridge
        )
        self.points = None if epsilon is None else uniform_grid(H, epsilon)
        self.slack = 0.0 if epsilon is None else 2.0 * epsilon
        self.values = np.zeros((H + 1, task.mdp.S))

    def plan(self, rng: np.random.Generator) -> Solution:
        """Backward induction with the present estimate and bonus; `rng` is not needed."""
        mdp = self.task.mdp
        self.regression.solve()
        self.values = np.zeros((mdp.H + 1, mdp.S))
        policy = np.empty((mdp.H, mdp.S), dtype=np.int64)
        for h in reversed(range(mdp.H)):
            q = self.worth(h)
            policy[h] = q.argmax(axis=-1)
            self.values[h] = np.clip(q.max(axis=-1), 0.0, mdp.H - h)
        return Solution(policy, self.values)

    def worth(self, h: int) -> np.ndarray:
        """Q_h before it is clipped, (S, A), from V_{h+1}."""
        mdp, regression = self.task.mdp, self.regression
        grid = step_grids(self.points, self.values)[h]
        clipped = shortfalls(grid, self.values[h + 1])
        risk = (grid[:, None] - regression.means(h, clipped) / self.alpha).max(axis=0)
        risk += self.beta / self.alpha * np.sqrt(regression.squares(h, clipped).max(axis=0))
        worth: np.ndarray = mdp.rewards[h] + risk.reshape(mdp.S, mdp.A) + self.slack
        return worth

    def update(self, episode: Episode) -> None:
        """Learn an episode of the last policy, at each step with the x that is the least known."""
        steps = np.arange(self.task.mdp.H)
        clipped = shortfalls(step_grids(self.points, self.values), self.values[1:])  # (H, X, S)
        psi = self.regression.features(episode.states[:-1], episode.actions, clipped)
        x = self.regression.norms(psi).argmax(axis=-1)
        self.regression.add(psi[steps, x], clipped[steps, x, episode.states[1:]])

    def get_state(self) -> dict[str, np.ndarray]:
        """Lambda (H, d, d) and b (H, d)."""
        return self.regression.get_state()

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `get_state`."""
        self.regression.set_state(state)
