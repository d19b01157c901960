"""Who serves whom in a network: linear index policies, as data.

A policy gives each pool s and queue i an index, and free servers take the waiting jobs of the
largest indices:

    index_si = constant_si + sum_j slope_sij Q_j + age_si (time that the first waiting job waits)

A pair whose index is below 0 is left idle. All rules below are of this form, so one compiled loop
runs them all; one of your own is three arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tenfold.envs.queues.network import Network


@dataclass(frozen=True)
class NetworkPolicy:
    """A linear index policy of S pools and K queues.

    Attributes:
        name: As it is shown in tables.
        constant: (S, K).
        slope: What a job of queue j adds (S, K, K).
        age: What a unit of time of the first waiting job adds (S, K).
    """

    name: str
    constant: np.ndarray
    slope: np.ndarray
    age: np.ndarray


def priority(network: Network, order: list[int], name: str = "priority") -> NetworkPolicy:
    """Queues in a fixed order, the first of them first.

    Raises:
        ValueError: `order` does not name each queue once.
    """
    if sorted(order) != list(range(network.K)):
        raise ValueError(f"an order names each of {network.K} queues once, not {order}.")
    ranks = np.empty(network.K)
    ranks[order] = np.arange(network.K, 0, -1)
    return _policy(network, name, constant=np.tile(ranks, (network.S, 1)))


def first_come(network: Network) -> NetworkPolicy:
    """First come, first served: who came to its queue first."""
    return _policy(network, "fcfs", age=np.ones((network.S, network.K)))


def c_mu(network: Network) -> NetworkPolicy:
    """h_i mu_si, the c-mu rule."""
    return _policy(network, "c_mu", constant=np.array(network.mu) * network.costs)


def max_weight(network: Network) -> NetworkPolicy:
    """h_i mu_si Q_i, MaxWeight (Tassiulas and Ephremides, 1992)."""
    weights = np.array(network.mu) * network.costs
    return _policy(network, "max_weight", slope=weights[:, :, None] * np.eye(network.K))


def max_pressure(network: Network) -> NetworkPolicy:
    """mu_si (h_i Q_i - sum_j P_ij h_j Q_j), MaxPressure (Dai and Lin, 2005); idle below 0.

    On one hop, where all leave after their service, it is MaxWeight.
    """
    pull = (np.eye(network.K) - network.P) * network.costs
    return _policy(network, "max_pressure", slope=np.array(network.mu)[:, :, None] * pull)


def longest(network: Network) -> NetworkPolicy:
    """Q_i."""
    return _policy(network, "longest", slope=np.tile(np.eye(network.K), (network.S, 1, 1)))


def last_first(network: Network) -> NetworkPolicy:
    """Priority to those nearest to their exit: last buffer first served, by mean services to go."""
    to_go = np.linalg.solve(np.eye(network.K) - network.P, np.ones(network.K))
    return _policy(network, "last_first", constant=np.tile(-to_go + to_go.max(), (network.S, 1)))


def _policy(network: Network, name: str, **parts: np.ndarray) -> NetworkPolicy:
    S, K = network.S, network.K
    zeros = {"constant": np.zeros((S, K)), "slope": np.zeros((S, K, K)), "age": np.zeros((S, K))}
    return NetworkPolicy(name, **{**zeros, **parts})


POLICIES: dict[str, Callable[[Network], NetworkPolicy]] = {
    "fcfs": first_come,
    "c_mu": c_mu,
    "max_weight": max_weight,
    "max_pressure": max_pressure,
    "longest": longest,
    "last_first": last_first,
}
