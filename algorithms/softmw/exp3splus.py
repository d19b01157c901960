"""EXP3.S+: adversarial bandits against a moving comparator, with rewards of unbounded known size.

The paper's extension of EXP3.S (Auer et al., 2002) to rewards g_t in [0, G_t], where G_t is known
at t but not bounded in advance. One step (our reconstruction from the abstract, see README.md)::

    p_t = (1 - gamma_t) x_t + gamma_t / K               explore
    a_t ~ p_t,   g^_t(i) = g_t(i) 1[a_t = i] / p_t(i)   estimate
    x~_i  proportional to  x_t(i) exp(eta_t g^_t(i))    exponential weights
    x_{t+1} = (1 - e_t) x~ + e_t / K                    mix, to find a moving best arm again

with gamma_t = eta_t K G_t <= 1/2, so that eta_t g^_t <= 1. The weights x are kept in probability
space: mixing keeps them above e_t / K, so they neither underflow nor need logarithms, and since
only the drawn arm's weight changes a step costs one exponential.
"""

import math

import numpy as np
from numba import njit

from tenfold.algorithms.softmw.scheduler import Constants
from tenfold.platform.parameters import parameter


@njit(inline="always")
def explored(x, gamma, p):
    """p = (1 - gamma) x + gamma / K."""
    K = len(p)
    for i in range(K):
        p[i] = (1.0 - gamma) * x[i] + gamma / K


@njit(inline="always")
def reweighted(x, K, action, growth, e):
    """x <- (1 - e) x~ + e / K, where x~ is x with the drawn arm's weight times `growth`."""
    scale = (1.0 - e) / (1.0 + x[action] * (growth - 1.0))
    x[action] *= growth
    for i in range(K):
        x[i] = scale * x[i] + e / K


@njit(inline="always")
def safe_rate(eta, K, G):
    """eta, cut so that the exploration eta K G that it needs is at most one half."""
    if eta * K * G > 0.5:
        return 0.5 / (K * G)
    return eta


@njit(cache=True)
def _explore_all(x, gamma, p):
    for r in range(len(x)):
        explored(x[r], gamma[r], p[r])


@njit(cache=True)
def _reweight_all(x, actions, growth, e):
    for r in range(len(x)):
        reweighted(x[r], x.shape[1], actions[r], growth[r], e)


class EXP3SPlusConstants(Constants):
    """Constants of EXP3.S+."""

    c_eta: float = parameter(1.0, "Factor of the learning rate", gt=0, le=1e6)
    variation: float = parameter(
        0.0,
        "V, the expected total variation sum_t ||theta_{t+1} - theta_t||_1 of the comparator; 0 "
        "for a fixed best arm",
        ge=0,
        le=1e12,
    )


class EXP3SPlus:
    """R replicas of the bandit, usable alone.

    eta_t = c_eta sqrt((1 + V) ln(K (t + 1)) / (1 + K sum_{s <= t} G_s^2)) and e_t = 1 / (t + 1):
    dynamic regret of order sqrt(K (1 + V) ln(K T) sum_t G_t^2), see THEORY.md.

    Attributes:
        x: Weights (R, K), each row in the simplex.
        t: The step to come, from 1.
    """

    def __init__(self, K: int, replicas: int = 1, **constants: float) -> None:
        """Uniform weights, nothing learnt.

        Args:
            K: Number of arms.
            replicas: Independent copies, R.
            **constants: See `EXP3SPlusConstants`.
        """
        self.K = K
        self.constants = EXP3SPlusConstants.checked("EXP3.S+", constants)
        self.x = np.full((replicas, K), 1.0 / K)
        self.t = 1
        self._sum_of_squares = np.zeros(replicas)

    def probabilities(self, G: float | np.ndarray) -> np.ndarray:
        """The distribution over arms in step t, given the largest reward G_t that it can bring.

        Args:
            G: >= 0, a number or (R,).

        Returns:
            Probabilities (R, K).
        """
        size = np.broadcast_to(np.asarray(G, dtype=np.float64), self._sum_of_squares.shape)
        self._squares = size**2
        total = self._sum_of_squares + self._squares
        spread = (1.0 + self.constants.variation) * math.log(self.K * (self.t + 1))
        eta = self.constants.c_eta * np.sqrt(spread / (1.0 + self.K * total))
        with np.errstate(divide="ignore"):
            self._eta = np.minimum(eta, 0.5 / (self.K * size))
        self._p = np.empty_like(self.x)
        _explore_all(self.x, self._eta * self.K * size, self._p)
        return self._p.copy()

    def update(self, action: int | np.ndarray, reward: float | np.ndarray) -> None:
        """Learn the reward of the arm that was drawn.

        Args:
            action: The arm, an int or (R,).
            reward: Its reward in [0, G_t], a number or (R,).
        """
        rows = np.arange(len(self.x))
        actions = np.broadcast_to(np.asarray(action, dtype=np.int64), rows.shape)
        estimate = np.asarray(reward, dtype=np.float64) / self._p[rows, actions]
        growth = np.broadcast_to(np.exp(self._eta * estimate), rows.shape)
        _reweight_all(self.x, actions, growth, 1.0 / (self.t + 1.0))
        self._sum_of_squares += self._squares
        self.t += 1
