"""RS-DisRL-V with a linear class: distribution functions linear in features, by least squares.

    F_h(x | s, y, a) = psi(y)^T theta_h(x; s, a)

The features are hat functions of y with a block for each (s, a), so what is learnt at one y serves
its neighbours. theta_h(x; s, a) is the ridge regression of the distribution functions of the target
r + Z_{h+1} that the data show (the loss of V-LSR), and optimism lowers F by beta ||psi(y)|| in the
norm of the inverse Gram matrix: mass moves from the worst returns to the best one possible.
"""

import math

import numpy as np

from tenfold.algorithms.rs_disrl.planner import Solution, StaticPlanner
from tenfold.envs.risk.measures import RiskMeasure
from tenfold.envs.risk.returns import GridMDP

RIDGE = 1.0


def hats(Y: int, n: int) -> np.ndarray:
    """n hat functions at the points of a return grid, (Y, n); they sum to 1 at each.

    Raises:
        ValueError: n is below 2, or above Y.
    """
    if not 2 <= n <= Y:
        raise ValueError(
            f"Bad value {n} for 'value_knots': give 2 to {Y}, the points of the task's return grid."
        )
    knots = np.linspace(0.0, Y - 1.0, n)
    return np.maximum(1.0 - np.abs(np.arange(Y)[:, None] - knots) / (knots[1] - knots[0]), 0.0)


class LinearPlanner(StaticPlanner):
    """Climbs to a policy of large rho, with distributions of the return to go from regression.

    Args:
        mdp: Outcomes, rewards and first state; its probabilities are not read.
        counts: Of outcomes, (H, S, A, O, Y).
        features: psi, (Y, n).
        log_union: log(1 / delta') of one regression.
        scale: Factor of beta; 0 is greedy.
    """

    def __init__(
        self,
        mdp: GridMDP,
        counts: np.ndarray,
        features: np.ndarray,
        log_union: float,
        scale: float,
    ) -> None:
        super().__init__(mdp)
        self.counts = counts
        self.features = features
        n = features.shape[1]
        seen = counts.sum(axis=3)  # (H, S, A, Y)
        gram = np.einsum("hsay,yi,yj->hsaij", seen, features, features) + RIDGE * np.eye(n)
        self.inverse = np.linalg.inv(gram)
        quadratic = np.einsum("yi,hsaij,yj->hsay", features, self.inverse, features)
        # Self-normalised bound for noise in [0, 1], and the pull of the ridge on theta in [0, 1].
        growth = np.linalg.slogdet(gram)[1] - n * math.log(RIDGE)
        beta = 0.5 * np.sqrt(growth + 2.0 * log_union) + math.sqrt(RIDGE * n)
        self.widths = scale * beta[..., None] * np.sqrt(quadratic)

    def solve(self, rho: RiskMeasure) -> Solution:
        """The best policy that is found by climbing from several utilities."""
        return max((self._climb(rho, g) for g in self._starts()), key=lambda found: found.value)

    def plan_for(self, utility: np.ndarray, rho: RiskMeasure) -> Solution:
        """Backward induction, greedy for the mean utility (Y,); evaluated by rho."""
        mdp, Y = self.mdp, self.mdp.Y
        y = np.arange(Y)
        gained = utility[np.minimum(y[:, None] + y, Y - 1)]  # of x more at y, (Y, X)
        z, most = np.zeros((mdp.S, Y, Y)), 0
        z[..., 0] = 1.0
        policy = np.empty((mdp.H, mdp.S, Y), dtype=np.int64)
        for h in reversed(range(mdp.H)):
            most += int(mdp.rewards[h].max())
            to_go = self._regressed(h, z, most)  # (S, A, Y, X)
            worth = (to_go * gained).sum(axis=-1)
            policy[h] = worth.argmax(axis=1)
            z = np.take_along_axis(to_go, policy[h][:, None, :, None], axis=1)[:, 0]
        distribution = z[mdp.initial, 0]
        return Solution(policy, distribution, float(rho.of(mdp.returns, distribution)))

    def _regressed(self, h: int, z: np.ndarray, most: int) -> np.ndarray:
        """Optimistic distributions of the return to go at step h, (S, A, Y, X), from those after
        it.

        Args:
            h: The step.
            z: (S, Y, X), of the next step's policy.
            most: The largest return to go.
        """
        mdp, y = self.mdp, np.arange(self.mdp.Y)
        rewards = mdp.rewards[h][..., None]  # (S, A, O, 1)
        after = z[mdp.nexts[h][..., None], np.minimum(y + rewards, mdp.Y - 1)]  # (S, A, O, Y, X)
        source = (y - rewards)[..., None, :]
        moved = np.take_along_axis(after, np.maximum(source, 0), axis=-1) * (source >= 0)
        sums = np.einsum("saoy,yi,saoyx->saix", self.counts[h], self.features, moved)
        levels = np.cumsum(self.features @ (self.inverse[h] @ sums), axis=-1)  # (S, A, Y, X)
        levels = np.clip(np.maximum.accumulate(levels, axis=-1), 0.0, 1.0)
        levels = np.maximum(levels - self.widths[h][..., None], 0.0)
        levels[..., most:] = 1.0
        to_go: np.ndarray = np.diff(levels, axis=-1, prepend=0.0)
        return to_go
