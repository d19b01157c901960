"""What SoftMW is compared with: from uniform service to rules that know the rates."""

import math
from typing import ClassVar

import numpy as np
from numba import njit

from tenfold.algorithms.softmw.exp3splus import explored, reweighted
from tenfold.algorithms.softmw.scheduler import (
    CompiledScheduler,
    Constants,
    learn_nothing,
    uniform_probabilities,
)
from tenfold.envs.queues.scheduling import PROBABILITIES, UPDATE
from tenfold.platform.parameters import parameter


@njit(inline="always")
def serve(p, queue):
    """Put all probability on one queue."""
    for i in range(len(p)):
        p[i] = 0.0
    p[queue] = 1.0


class Uniform(CompiledScheduler):
    """Every queue with probability 1 / K."""

    name = "uniform"
    probabilities_fn = staticmethod(uniform_probabilities)
    update_fn = staticmethod(learn_nothing)


@njit(PROBABILITIES, cache=True)
def round_robin_probabilities(params, state, q, t, p):
    """Queue (t - 1) mod K."""
    serve(p, (t - 1) % len(q))


class RoundRobin(CompiledScheduler):
    """The queues in turn."""

    name = "round_robin"
    probabilities_fn = staticmethod(round_robin_probabilities)
    update_fn = staticmethod(learn_nothing)


@njit(PROBABILITIES, cache=True)
def longest_queue_probabilities(params, state, q, t, p):
    """argmax_i Q_i, the first of equals."""
    best = 0
    for i in range(1, len(q)):
        if q[i] > q[best]:
            best = i
    serve(p, best)


class LongestQueue(CompiledScheduler):
    """Serve the longest queue."""

    name = "longest_queue"
    probabilities_fn = staticmethod(longest_queue_probabilities)
    update_fn = staticmethod(learn_nothing)


@njit(PROBABILITIES, cache=True)
def oracle_probabilities(params, state, q, t, p):
    """argmax_i Q_i E[S_i(t)], by the rates that the simulator writes into the memory."""
    best = 0
    for i in range(1, len(q)):
        if q[i] * state[i] > q[best] * state[best]:
            best = i
    serve(p, best)


class Oracle(CompiledScheduler):
    """MaxWeight (Tassiulas and Ephremides, 1992) that knows the mean service of each slot."""

    name = "oracle"
    knows_rates = True
    probabilities_fn = staticmethod(oracle_probabilities)
    update_fn = staticmethod(learn_nothing)

    def memory(self) -> np.ndarray:
        return np.zeros(self.K)


@njit(PROBABILITIES, cache=True)
def c_mu_probabilities(params, state, q, t, p):
    """argmax c_i E[S_i(t)] over the queues that hold work; the first queue when none does."""
    best, most = 0, -1.0
    for i in range(len(q)):
        if q[i] > 0.0 and params[i] * state[i] > most:
            best, most = i, params[i] * state[i]
    serve(p, best)


class CMu(CompiledScheduler):
    """The c-mu rule (Cox and Smith, 1961), with known mean services mu and holding costs c.

    It has the least mean holding cost of all rules where the rates are constant and services
    geometric (Buyukkoc, Varaiya and Walrand, 1985): with Bernoulli services here.
    """

    name = "c_mu"
    knows_rates = True
    probabilities_fn = staticmethod(c_mu_probabilities)
    update_fn = staticmethod(learn_nothing)

    def parameters(self) -> list[float]:
        return self.costs

    def memory(self) -> np.ndarray:
        return np.zeros(self.K)


# Memory of the rules that estimate mean services: counts N (K), sums of S (K).


@njit(inline="always")
def best_by_mean(state, offset, q, M):
    """argmax_i Q_i S^_i, S^ the mean of the services seen and of one more of size M.

    Without that one, a queue whose first service happens to be 0 would never be served again.
    """
    K = len(q)
    best, most = 0, -1.0
    for i in range(K):
        mean = (state[offset + K + i] + M) / (state[offset + i] + 1.0)
        if q[i] * mean > most:
            best, most = i, q[i] * mean
    return best


@njit(inline="always")
def best_by_bound(state, offset, q, M, c, total):
    """argmax_i Q_i min(S^_i + M sqrt(c ln(total) / N_i), M)."""
    K = len(q)
    best, most = 0, -1.0
    for i in range(K):
        n = state[offset + i]
        upper = M
        if n > 0.0:
            width = M * math.sqrt(c * math.log(max(total, 2.0)) / n)
            upper = min(state[offset + K + i] / n + width, M)
        if q[i] * upper > most:
            best, most = i, q[i] * upper
    return best


@njit(PROBABILITIES, cache=True)
def empirical_probabilities(params, state, q, t, p):
    """MaxWeight on the empirical means, and epsilon of uniform service (epsilon may be 0)."""
    K = len(q)
    epsilon = params[1]
    serve(p, best_by_mean(state, 0, q, params[0]))
    for i in range(K):
        p[i] = (1.0 - epsilon) * p[i] + epsilon / K


@njit(UPDATE, cache=True)
def empirical_update(params, state, q, p, action, service, t):
    """Count and sum."""
    state[action] += 1.0
    state[len(q) + action] += service


class Empirical(CompiledScheduler):
    """MaxWeight on the empirical mean services."""

    name = "maxweight_empirical"
    probabilities_fn = staticmethod(empirical_probabilities)
    update_fn = staticmethod(empirical_update)

    def parameters(self) -> list[float]:
        return [_finite(self.bound), 0.0]

    def memory(self) -> np.ndarray:
        return np.zeros(2 * self.K)


class EpsilonGreedyConstants(Constants):
    """Constants of epsilon-greedy."""

    epsilon: float = parameter(0.05, "Share of uniform service", ge=0, le=1)


class EpsilonGreedy(Empirical):
    """MaxWeight on the empirical mean services, with a share of uniform service."""

    name = "epsilon_greedy"
    Constants: ClassVar[type[Constants]] = EpsilonGreedyConstants

    def parameters(self) -> list[float]:
        return [_finite(self.bound), self.constants.epsilon]


class DiscountedUCBConstants(Constants):
    """Constants of discounted UCB."""

    gamma: float = parameter(0.998, "What an observation weighs a slot later", gt=0, lt=1)
    c: float = parameter(0.1, "Width of the confidence bounds", ge=0, le=1e6)


@njit(PROBABILITIES, cache=True)
def discounted_probabilities(params, state, q, t, p):
    """MaxWeight on discounted upper confidence bounds of the mean services."""
    total = 0.0
    for i in range(len(q)):
        total += state[i]
    serve(p, best_by_bound(state, 0, q, params[0], params[2], total))


@njit(inline="always")
def discount(state, offset, K, gamma, action, service):
    """Forget a little, then count and sum."""
    for i in range(2 * K):
        state[offset + i] *= gamma
    state[offset + action] += 1.0
    state[offset + K + action] += service


@njit(UPDATE, cache=True)
def discounted_update(params, state, q, p, action, service, t):
    """Discounted counts and sums (Garivier and Moulines, 2011)."""
    discount(state, 0, len(q), params[1], action, service)


class DiscountedUCB(CompiledScheduler):
    """MaxWeight on discounted upper confidence bounds (discounted UCB of Garivier and Moulines)."""

    name = "discounted_ucb"
    Constants = DiscountedUCBConstants
    probabilities_fn = staticmethod(discounted_probabilities)
    update_fn = staticmethod(discounted_update)

    def parameters(self) -> list[float]:
        return [_finite(self.bound), self.constants.gamma, self.constants.c]

    def memory(self) -> np.ndarray:
        return np.zeros(2 * self.K)


class WindowUCBConstants(Constants):
    """Constants of sliding-window UCB."""

    W: int = parameter(500, "Window", unit="slots", ge=2, le=10**6)
    c: float = parameter(0.1, "Width of the confidence bounds", ge=0, le=1e6)


@njit(PROBABILITIES, cache=True)
def window_probabilities(params, state, q, t, p):
    """MaxWeight on upper confidence bounds over the last W slots."""
    serve(p, best_by_bound(state, 0, q, params[0], params[2], min(t, params[1])))


@njit(UPDATE, cache=True)
def window_update(params, state, q, p, action, service, t):
    """Counts and sums of the last W slots; the ring holds who was served (from 1) and how much."""
    K, W = len(q), int(params[1])
    place = 2 * K + 2 * ((t - 1) % W)
    if state[place] > 0.0:
        old = int(state[place]) - 1
        state[old] -= 1.0
        state[K + old] -= state[place + 1]
    state[action] += 1.0
    state[K + action] += service
    state[place] = action + 1.0
    state[place + 1] = service


class WindowUCB(CompiledScheduler):
    """MaxWeight on sliding-window upper confidence bounds."""

    name = "window_ucb"
    Constants = WindowUCBConstants
    probabilities_fn = staticmethod(window_probabilities)
    update_fn = staticmethod(window_update)

    def parameters(self) -> list[float]:
        return [_finite(self.bound), self.constants.W, self.constants.c]

    def memory(self) -> np.ndarray:
        return np.zeros(2 * self.K + 2 * self.constants.W)


class ThompsonConstants(Constants):
    """Constants of Thompson sampling."""

    gamma: float = parameter(0.998, "What an observation weighs a slot later", gt=0, le=1)


@njit(inline="always")
def _hash(number):
    """A pseudo-random uniform in (0, 1) of a number's bits (the finaliser of splitmix64)."""
    z = np.uint64(number)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)) + 0.5) / 9007199254740992.0


@njit(PROBABILITIES, cache=True)
def thompson_probabilities(params, state, q, t, p):
    """argmax_i Q_i theta_i with theta_i normal, of the mean and variance of i's Beta posterior.

    Probabilities must be a function of the memory, so that checkpoints are exact: the draws are a
    hash of slot, queue and memory (which differs between replicas), not of a hidden generator.
    """
    K, M = len(q), params[0]
    best, most = 0, -math.inf
    for i in range(K):
        wins = 1.0 + state[K + i] / M
        n = 2.0 + state[i]
        mean = wins / n
        spread = math.sqrt(max(mean * (1.0 - mean), 0.0) / (n + 1.0))
        key = t * 2654435761 + i * 40503 + int(1e6 * (state[0] + state[K + i]))
        radius = math.sqrt(-2.0 * math.log(_hash(2 * key)))
        theta = mean + spread * radius * math.cos(2.0 * math.pi * _hash(2 * key + 1))
        if q[i] * max(theta, 0.0) > most:
            best, most = i, q[i] * max(theta, 0.0)
    serve(p, best)


class Thompson(CompiledScheduler):
    """MaxWeight on discounted Thompson samples (normal approximation of the Beta posterior)."""

    name = "thompson"
    Constants = ThompsonConstants
    probabilities_fn = staticmethod(thompson_probabilities)
    update_fn = staticmethod(discounted_update)

    def parameters(self) -> list[float]:
        return [_finite(self.bound), self.constants.gamma]

    def memory(self) -> np.ndarray:
        return np.zeros(2 * self.K)


class EXP3SConstants(Constants):
    """Constants of EXP3.S."""

    G: float = parameter(100.0, "Size of the rewards it is tuned for", unit="M", gt=0, le=1e12)
    gamma: float = parameter(0.05, "Share of uniform service", gt=0, le=1)
    e: float = parameter(1e-4, "Share of mixing", gt=0, lt=1)


@njit(PROBABILITIES, cache=True)
def exp3s_probabilities(params, state, q, t, p):
    """p = (1 - gamma) x + gamma / K with a fixed gamma."""
    explored(state, params[1], p)


@njit(UPDATE, cache=True)
def exp3s_update(params, state, q, p, action, service, t):
    """Exponential weights on min(Q S / G, 1) / p at the fixed rate gamma / K."""
    K = len(q)
    reward = min(q[action] * service / params[0], 1.0)
    growth = math.exp(params[1] / K * reward / p[action])
    reweighted(state, K, action, growth, params[2])


class EXP3S(CompiledScheduler):
    """EXP3.S (Auer et al., 2002) as it is: tuned for rewards in [0, G], larger ones count as G."""

    name = "exp3s"
    Constants = EXP3SConstants
    probabilities_fn = staticmethod(exp3s_probabilities)
    update_fn = staticmethod(exp3s_update)

    def parameters(self) -> list[float]:
        return [self.constants.G * _finite(self.bound), self.constants.gamma, self.constants.e]

    def memory(self) -> np.ndarray:
        return np.full(self.K, 1.0 / self.K)


def _finite(bound: float) -> float:
    """M, or the size 1 of a typical service in a scenario without a bound."""
    return bound if math.isfinite(bound) else 1.0
