"""ICVaR-L with likelihood sets: the weights of a linear mixture from all of the next state.

Regression on (x - V)^+ looks at one function of the next state and takes its noise for the largest
possible. The likelihood of the weights theta_h (on the simplex) uses all of it:

    F_h(theta) = - sum over (s, a, s') of n_h(s, a, s') log <theta, phi(s', s, a)>,
    phi(s', s, a) = (P^1(s' | s, a), ..., P^d(s' | s, a)),

and with probability 1 - delta for all h and numbers of episodes, whatever the policies,

    F_h(truth) <= min F_h + log(H / delta) + (d - 1) / 2 log(n_h + 1) + log 2        (= min + b)

by `likelihood_radius`. This is turned into an ellipsoid without loss of validity. With theta^ near
the minimum, g the most that F_h can still fall by convexity, and Sigma = F_h''(theta^),

    ||theta - theta^||_Sigma^2 <= (b + g) z^2 / (z - log(1 + z))

for all theta of the set under which no seen outcome is more than 1 + z times as likely as under
theta^, since (t - log(1 + t)) / t^2 falls in t. z is first what the simplex allows, then what the
ellipsoid does; it tends to 0, and the right side to 2 (b + g). Sigma is the Fisher information, so
what is nearly certain is known soon: the bonus is of Bernstein's kind. Planning takes

    Q_h = r_h + max_x { x - max(<theta^, psi_x> - radius ||psi_x||, min_i psi_x,i) / alpha },

the last minimum being over all of the simplex. The true Q* is no larger, by induction. This is our
derivation, not the paper's. Sets are made anew once there is a share more data.
"""

import math
from collections.abc import Mapping

import numpy as np

from tenfold.algorithms.common.likelihood_radius import likelihood_radius
from tenfold.algorithms.icvar.operators import shortfalls
from tenfold.algorithms.icvar.planner import Solution
from tenfold.envs.risk.mdp import Episode
from tenfold.envs.risk.mixture import Mixture

# Data grow by this share until sets are made anew.
_GROWN = 0.02
# Sweeps of expectation maximisation until F can fall by no more than this, and the most of them.
_CLOSE, _SWEEPS = 0.05, 200
# What keeps Sigma regular; |theta - theta^|^2 is at most 2 on the simplex.
_RIDGE = 1.0
_REFINEMENTS = 8
# Share of uniform weights in what a fit starts from, so that none is stuck at 0.
_FRESH = 1e-3


class LikelihoodL:
    """The learner; its memory is the counts, and the weights fitted to those of some episodes ago.

    Args:
        task: Base kernels, rewards and horizon; its true mixture is read by `covers` only.
        alpha: Risk level that it plans for.
        bonus_scale: Factor of the radius; 0 is greedy.
        delta: Probability of a set that misses the truth.
    """

    def __init__(self, task: Mixture, alpha: float, bonus_scale: float, delta: float) -> None:
        H, S, A, d = task.mdp.H, task.mdp.S, task.mdp.A, task.d
        self.task = task
        self.alpha = alpha
        self.scale = bonus_scale
        self.log_failures = math.log(H / delta)
        self.phi = np.ascontiguousarray(task.kernels.transpose(1, 2, 3, 0))  # (S, A, S', d)
        self.counts = np.zeros((H, S, A, S))
        self.fitted = np.zeros_like(self.counts)
        self.theta = np.full((H, d), 1.0 / d)
        self._solution: Solution | None = None
        self._set_ellipsoids()

    def plan(self, rng: np.random.Generator) -> Solution:
        """Backward induction, optimistic over the sets; `rng` is not needed."""
        if self.counts.sum() > (1.0 + _GROWN) * self.fitted.sum():
            self._fit()
        elif self._solution is not None:
            return self._solution
        mdp = self.task.mdp
        self.values = np.zeros((mdp.H + 1, mdp.S))
        policy = np.empty((mdp.H, mdp.S), dtype=np.int64)
        for h in reversed(range(mdp.H)):
            q = self.worth(h)
            policy[h], self.values[h] = q.argmax(axis=-1), np.minimum(q.max(axis=-1), mdp.H - h)
        self._solution = Solution(policy, self.values)
        return self._solution

    def worth(self, h: int) -> np.ndarray:
        """Q_h before it is clipped, (S, A), from V_{h+1}."""
        values = self.values[h + 1]
        clipped = shortfalls(values, values)  # (X, S')
        psi = np.tensordot(clipped, self.phi, axes=(1, 2))  # (X, S, A, d)
        lowest = psi @ self.theta[h]
        if self.scale > 0.0:
            lowest -= self.radius[h] * np.sqrt(((psi @ self.white[h]) ** 2).sum(axis=-1))
            lowest = np.maximum(lowest, psi.min(axis=-1))
        risk = (values[:, None, None] - lowest / self.alpha).max(axis=0)
        worth: np.ndarray = self.task.mdp.rewards[h] + risk
        return worth

    def update(self, episode: Episode) -> None:
        """Count an episode's transitions."""
        steps = np.arange(self.task.mdp.H)
        self.counts[steps, episode.states[:-1], episode.actions, episode.states[1:]] += 1.0

    def _fit(self) -> None:
        """theta^ of all that was seen, by expectation maximisation from where it was."""
        self.fitted = self.counts.copy()
        d = self.task.d
        self.theta = (1.0 - _FRESH) * self.theta + _FRESH / d
        n = self.fitted.sum(axis=(1, 2, 3))  # (H,)
        for _ in range(_SWEEPS):
            share = self._slopes() / np.maximum(n, 1.0)[:, None]
            if (n * (share.max(axis=1) - 1.0)).max() <= _CLOSE:
                break
            self.theta = np.where(n[:, None] > 0.0, self.theta * share, self.theta)
        self._set_ellipsoids()

    def _chances(self) -> np.ndarray:
        """<theta^_h, phi>, (H, S, A, S'), 1 where nothing was seen."""
        chances = np.tensordot(self.theta, self.phi, axes=(1, 3))
        return np.where(self.fitted > 0.0, chances, 1.0)

    def _slopes(self) -> np.ndarray:
        """-F_h'(theta^), (H, d); its mean under theta^_h is the number of episodes."""
        slopes: np.ndarray = np.einsum("hsat,satd->hd", self.fitted / self._chances(), self.phi)
        return slopes

    def _set_ellipsoids(self) -> None:
        """radius (H,), and a root of Sigma^{-1} within the simplex's plane, (H, d, d)."""
        self._solution = None
        d = self.task.d
        chances, n = self._chances(), self.fitted.sum(axis=(1, 2, 3))
        weights = self.fitted / chances**2
        self.sigma = np.einsum("hsat,satd,sate->hde", weights, self.phi, self.phi, optimize=True)
        self.sigma += _RIDGE * np.eye(d)
        inverse = np.linalg.inv(self.sigma)
        across = inverse.sum(axis=-1)  # Sigma^{-1} 1
        inverse -= across[:, :, None] * across[:, None, :] / across.sum(axis=1)[:, None, None]
        values, vectors = np.linalg.eigh(inverse)
        self.white = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        # By convexity F falls by no more than this, up to a corner of the simplex.
        fall = np.where(n > 0.0, self._slopes().max(axis=1) - n, 0.0)
        bound = likelihood_radius(n, d, self.log_failures) + np.maximum(fall, 0.0)
        seen = self.fitted > 0.0
        relative = self.phi / chances[..., None]  # (H, S, A, S', d)
        most = np.where(seen, relative.max(axis=-1) - 1.0, 0.0).max(axis=(1, 2, 3))
        norms = np.sqrt(((relative @ self.white[:, None, None]) ** 2).sum(axis=-1))
        reach = np.where(seen, norms, 0.0).max(axis=(1, 2, 3))
        z = most
        for _ in range(_REFINEMENTS):
            radius = np.sqrt(bound * _curvature(z) + 2.0 * _RIDGE)
            z = np.minimum(z, radius * reach)
        self.radius = self.scale * np.sqrt(bound * _curvature(z) + 2.0 * _RIDGE)

    def covers(self) -> bool:
        """Whether the true weights of every step are in their ellipsoid."""
        off = self.task.theta - self.theta
        lengths = np.sqrt(np.einsum("hd,hde,he->h", off, self.sigma, off))
        return bool((lengths <= self.radius).all())

    def get_state(self) -> dict[str, np.ndarray]:
        """How often each transition was seen, (H, S, A, S), and when weights (H, d) were fitted."""
        return {"counts": self.counts, "fitted": self.fitted, "theta": self.theta}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `get_state`."""
        self.counts, self.fitted, self.theta = (
            state[key].copy() for key in ("counts", "fitted", "theta")
        )
        self._set_ellipsoids()


def _curvature(z: np.ndarray) -> np.ndarray:
    """z^2 / (z - log(1 + z)), which is 2 at 0."""
    small = np.maximum(z, 1e-4)
    curvature: np.ndarray = small**2 / (small - np.log1p(small))
    return curvature
