"""SoftMW and SSMW, and their versions for unbounded arrivals and services.

MaxWeight would serve argmax_i Q_i E[S_i]. Without S it is an adversarial bandit: serving queue i
brings the reward g_i(t) = Q_i(t) S_i(t), at most G_t = M max_i Q_i(t), which is known before the
choice. EXP3.S+ plays it, with rates that follow the queues (our reconstruction, see README.md):

    SoftMW   eta_t = c_eta t^(1/4 - delta/2) / sqrt(1 + K sum_{s <= t} G_s^2),      e_t = 1/(t+1)
    SSMW     eta_t = c_eta W^(1/4 - delta/2) / sqrt(1 + K sum_{t-W < s <= t} G_s^2), e_t = 1/W
    both     gamma_t = eta_t K G_t <= 1/2

SoftMW cuts eta_t at 1 / (2 K max_{s <= t} G_s), SSMW at 1 / (2 K G_t), so that the last line holds;
THEORY.md says why the running maximum.

The '+' versions replace M by a threshold M_t = c_M t^(1/(2 p)) that grows with the slots, and see
min(S, M_t): with E S^p finite the lost service is at most C M_t^(1-p) a slot, which vanishes.
"""

import math
from typing import ClassVar

import numpy as np
from numba import njit

from tenfold.algorithms.softmw.exp3splus import explored, reweighted, safe_rate
from tenfold.algorithms.softmw.scheduler import CompiledScheduler, Constants
from tenfold.envs.queues.scheduling import PROBABILITIES, UPDATE
from tenfold.platform.parameters import parameter

# A replica's memory: weights x (K), then sum of G^2, eta, G, M, max G; then the window's squares.
SUM, ETA, SIZE, BOUND, LARGEST, HEAD = 0, 1, 2, 3, 4, 5

# params of all: M (or c_M), growth of M_t, c_eta, exponent of t, window W (0: none), whether it
# doubles, and the most of a service that is learnt in units of M_t (1: clipped)
_M, _GROWTH, _C_ETA, _EXPONENT, _WINDOW, _DOUBLING, _CLIP = range(7)

# exp overflows at 709; with clipping the exponent is at most 1.
_LARGEST_EXPONENT = 700.0


@njit(inline="always")
def propose(params, state, q, t, p):
    """Write the probabilities of slot t, remember eta_t, G_t, M_t; asking twice changes nothing."""
    K = len(q)
    longest = 0.0
    for i in range(K):
        longest = max(longest, q[i])
    M = params[_M]
    if params[_GROWTH] > 0.0:
        M *= t ** params[_GROWTH]
    G = M * longest
    W = int(params[_WINDOW])
    if W == 0:
        total = state[K + SUM] + G * G
        eta = params[_C_ETA] * t ** params[_EXPONENT] / math.sqrt(1.0 + K * total)
    else:
        total = state[K + SUM] + G * G
        if params[_DOUBLING] > 0.0:
            W = _epoch(t, W)
            if t % W == 0:
                total = G * G
        else:
            total -= state[K + HEAD + (t - 1) % W]
        eta = params[_C_ETA] * W ** params[_EXPONENT] / math.sqrt(1.0 + K * total)
    eta = safe_rate(eta, K, max(G, state[K + LARGEST]) if W == 0 else G)
    state[K + ETA] = eta
    state[K + SIZE] = G
    state[K + BOUND] = M * params[_CLIP]
    explored(state, eta * K * G, p)


@njit(inline="always")
def learn(params, state, q, p, action, service, t):
    """Exponential weights on the estimate of Q_a min(S_a, M_t) / p_a, and mixing."""
    K = len(q)
    G2 = state[K + SIZE] * state[K + SIZE]
    W = int(params[_WINDOW])
    if W == 0:
        state[K + SUM] += G2
        state[K + LARGEST] = max(state[K + LARGEST], state[K + SIZE])
        e = 1.0 / (t + 1.0)
    elif params[_DOUBLING] > 0.0:
        W = _epoch(t, W)
        state[K + SUM] = G2 if t % W == 0 else state[K + SUM] + G2
        e = 1.0 / W
    else:
        slot = (t - 1) % W
        state[K + SUM] += G2 - state[K + HEAD + slot]
        state[K + HEAD + slot] = G2
        if slot == W - 1:  # rounding errors do not outlive a window
            exact = 0.0
            for s in range(W):
                exact += state[K + HEAD + s]
            state[K + SUM] = exact
        e = 1.0 / W
    gain = q[action] * min(service, state[K + BOUND])
    exponent = min(state[K + ETA] * gain / p[action], _LARGEST_EXPONENT)
    reweighted(state, K, action, math.exp(exponent), e)


@njit(inline="always")
def _epoch(t, W):
    """The window of the doubling version: the largest W 2^m that is at most max(t, W)."""
    while t >= 2 * W:
        W *= 2
    return W


@njit(PROBABILITIES, cache=True)
def softmw_probabilities(params, state, q, t, p):
    """The probabilities of SoftMW, SSMW and their '+' versions."""
    propose(params, state, q, t, p)


@njit(UPDATE, cache=True)
def softmw_update(params, state, q, p, action, service, t):
    """The update of SoftMW, SSMW and their '+' versions."""
    learn(params, state, q, p, action, service, t)


class SoftMWConstants(Constants):
    """Constants of SoftMW."""

    c_eta: float = parameter(1.0, "Factor of the learning rate", gt=0, le=1e6)
    delta: float = parameter(
        0.1, "The reference policy changes by at most C T^(1/2 - delta) in all", gt=0, le=0.5
    )
    M: float | None = parameter(
        None, "Largest arrival or service of a slot; the scenario's bound when null", gt=0, le=1e12
    )


class SSMWConstants(SoftMWConstants):
    """Constants of SSMW: those of SoftMW, and the window."""

    W: int = parameter(2_000, "Window", unit="slots", ge=2, le=10**6)


class PlusConstants(SoftMWConstants):
    """Constants of SoftMW+: those of SoftMW, and how the threshold grows."""

    p: float = parameter(2.4, "Finite moments of the service", gt=2, le=100)
    c_M: float = parameter(2.0, "The threshold M_t at t = 1", gt=0, le=1e12)


class SSMWPlusConstants(PlusConstants):
    """Constants of SSMW+: those of SoftMW+, and the window."""

    W: int = parameter(2_000, "Window", unit="slots", ge=2, le=10**6)


class SoftMW(CompiledScheduler):
    """MaxWeight by exponential weights, for bounded arrivals and services (the paper's first)."""

    name = "softmw"
    Constants: ClassVar[type[Constants]] = SoftMWConstants
    probabilities_fn = staticmethod(softmw_probabilities)
    update_fn = staticmethod(softmw_update)

    def parameters(self) -> list[float]:
        c = self.constants
        window = getattr(c, "W", 0)
        return [self._largest(), self._growth(), c.c_eta, 0.25 - c.delta / 2, window, 0.0, 1.0]

    def memory(self) -> np.ndarray:
        window = getattr(self.constants, "W", 0)
        return np.concatenate([np.full(self.K, 1.0 / self.K), np.zeros(HEAD + window)])

    def _largest(self) -> float:
        """M; a scenario without a bound is met with the size 1 of a typical service."""
        if self.constants.M is not None:
            return float(self.constants.M)
        return self.bound if math.isfinite(self.bound) else 1.0

    def _growth(self) -> float:
        return 0.0


class SSMW(SoftMW):
    """SoftMW that forgets: sums over a sliding window of W slots (the paper's second)."""

    name = "ssmw"
    Constants = SSMWConstants


class UnclippedSoftMW(SoftMW):
    """SoftMW that learns Q S as it is, above G_t too: outside of its theory, see THEORY.md."""

    name = "softmw_unclipped"

    def parameters(self) -> list[float]:
        return _unclipped(super().parameters())


class UnclippedSSMW(SSMW):
    """SSMW that learns Q S as it is, above G_t too: outside of its theory, see THEORY.md."""

    name = "ssmw_unclipped"

    def parameters(self) -> list[float]:
        return _unclipped(super().parameters())


def _unclipped(parameters: list[float]) -> list[float]:
    parameters[_CLIP] = 1e100
    return parameters


class DoublingSSMW(SoftMW):
    """SSMW without a given W: the window doubles, and each window starts its sum anew."""

    name = "ssmw_doubling"
    Constants = SSMWConstants

    def parameters(self) -> list[float]:
        parameters = super().parameters()
        parameters[_DOUBLING] = 1.0
        return parameters

    def memory(self) -> np.ndarray:
        return np.concatenate([np.full(self.K, 1.0 / self.K), np.zeros(HEAD)])


class SoftMWPlus(SoftMW):
    """SoftMW for unbounded arrivals and services with p > 2 moments."""

    name = "softmw_plus"
    Constants = PlusConstants

    def _largest(self) -> float:
        return float(self.constants.c_M)

    def _growth(self) -> float:
        return 1.0 / (2.0 * self.constants.p)


class SSMWPlus(SoftMWPlus):
    """SSMW for unbounded arrivals and services with p > 2 moments."""

    name = "ssmw_plus"
    Constants = SSMWPlusConstants
