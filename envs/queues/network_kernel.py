"""The event loop of a network, compiled once for all networks and policies.

Between two events nothing changes: a job comes from outside, or a server ends one. After each event
free servers take the waiting jobs of the largest indices (network_policies.py); a preemptive
network first puts all jobs back. One replica a call; `state` and `sums` advance in place.
"""

from math import inf
from typing import NamedTuple

import numpy as np
from numba import njit

from tenfold.envs.queues.fifo import delay_bin
from tenfold.envs.queues.memory import HISTOGRAM_BINS
from tenfold.envs.queues.network import Network

FREE = -1
REACHED, FULL, ENOUGH = 0, 1, 2  # why `advance` returns


class NetworkTables(NamedTuple):
    """A network's constants, S pools, K queues, U servers.

    Attributes:
        lam: (K,).
        mu: (S, K).
        pool_of: int64 (U,), the pool of each server.
        exits: Cumulated routing probabilities (K, K); above the last one a job leaves.
        limits: (K,).
        arrival_scv: (K,).
        service_scv: (K,).
        setup: (K,).
        preemptive: bool (1,).
    """

    lam: np.ndarray
    mu: np.ndarray
    pool_of: np.ndarray
    exits: np.ndarray
    limits: np.ndarray
    arrival_scv: np.ndarray
    service_scv: np.ndarray
    setup: np.ndarray
    preemptive: np.ndarray


class NetworkState(NamedTuple):
    """One replica.

    Attributes:
        clock: (1,).
        jobs: Jobs of each queue, those in service too (K,).
        waiting: int64 (K,), how many of them wait.
        due: When the next job comes from outside (K,).
        serves: int64 (U,), the queue that each server serves, FREE if none.
        end: When it will have ended its job (U,), infinite if none.
        came: When its job had come to its queue (U,).
        last: int64 (U,), the queue it served last, FREE at first.
        stamps: When waiting jobs came, a ring a queue (K, C).
        head: int64 (K,), where the first of them is.
    """

    clock: np.ndarray
    jobs: np.ndarray
    waiting: np.ndarray
    due: np.ndarray
    serves: np.ndarray
    end: np.ndarray
    came: np.ndarray
    last: np.ndarray
    stamps: np.ndarray
    head: np.ndarray


class NetworkSums(NamedTuple):
    """Integrals over time and counts, (K,) but where another shape is said.

    Attributes:
        area: Integral of the jobs of each queue.
        came: Jobs that came, from outside and inside, and were not lost.
        lost: Jobs that found no room.
        ended: Jobs whose service ended.
        delay: Sum of their times from coming to the end of service.
        busy: Time that the servers of each pool served (or set up) each queue (S, K).
        setups: Setups of each queue.
        histogram: Jobs by delay in `resolution` of a unit of time (K, bins).
        left: Jobs that left the network (1,).
        events: int64 (1,).
    """

    area: np.ndarray
    came: np.ndarray
    lost: np.ndarray
    ended: np.ndarray
    delay: np.ndarray
    busy: np.ndarray
    setups: np.ndarray
    histogram: np.ndarray
    left: np.ndarray
    events: np.ndarray


def network_tables(network: Network) -> NetworkTables:
    """The constants of a network."""
    K = network.K
    return NetworkTables(
        lam=np.array(network.lam),
        mu=np.array(network.mu),
        pool_of=np.repeat(np.arange(network.S), network.pool),
        exits=np.cumsum(network.P, axis=1),
        limits=network.limits,
        arrival_scv=np.array(network.arrival_scv or [1.0] * K),
        service_scv=np.array(network.service_scv or [1.0] * K),
        setup=np.array(network.setup or [0.0] * K),
        preemptive=np.array([network.preemptive]),
    )


def start_state(network: Network, arrivals: np.random.Generator) -> NetworkState:
    """A replica at time 0, all servers free."""
    tables, K, U = network_tables(network), network.K, int(network.pool.sum())
    start = np.array(network.start or [0] * K)
    stamps = np.zeros((K, 1 << max(6, int(start.max(initial=0)).bit_length() + 1)))
    due = np.array([next_time(tables.lam[i], tables.arrival_scv[i], arrivals) for i in range(K)])
    return NetworkState(
        clock=np.zeros(1),
        jobs=start.astype(np.float64),
        waiting=start.astype(np.int64),
        due=due,
        serves=np.full(U, FREE),
        end=np.full(U, inf),
        came=np.zeros(U),
        last=np.full(U, FREE),
        stamps=stamps,
        head=np.zeros(K, dtype=np.int64),
    )


def no_sums(S: int, K: int) -> NetworkSums:
    """Nothing counted yet."""
    zeros = {name: np.zeros(K) for name in ("area", "came", "lost", "ended", "delay", "setups")}
    return NetworkSums(
        **zeros,
        busy=np.zeros((S, K)),
        histogram=np.zeros((K, HISTOGRAM_BINS)),
        left=np.zeros(1),
        events=np.zeros(1, dtype=np.int64),
    )


@njit(cache=True)
def next_time(rate, scv, rng):
    """A time of mean 1 / rate and squared coefficient of variation scv; infinite at rate 0."""
    if rate <= 0.0:
        return inf
    if scv == 1.0:
        return rng.standard_exponential() / rate
    if scv == 0.0:
        return 1.0 / rate
    return rng.standard_gamma(1.0 / scv) * scv / rate


@njit(cache=True)
def join(tables, state, sums, i, now):
    """A job comes to queue i, or is lost."""
    if state.jobs[i] >= tables.limits[i]:
        sums.lost[i] += 1.0
        return
    capacity = state.stamps.shape[1]
    state.stamps[i, (state.head[i] + state.waiting[i]) % capacity] = now
    state.waiting[i] += 1
    state.jobs[i] += 1.0
    sums.came[i] += 1.0


@njit(cache=True)
def begin(tables, state, sums, u, i, rng):
    """Server u takes the first waiting job of queue i."""
    now, capacity = state.clock[0], state.stamps.shape[1]
    state.came[u] = state.stamps[i, state.head[i]]
    state.head[i] = (state.head[i] + 1) % capacity
    state.waiting[i] -= 1
    time = next_time(tables.mu[tables.pool_of[u], i], tables.service_scv[i], rng)
    if tables.setup[i] > 0.0 and state.last[u] != i and state.last[u] != FREE:
        time += tables.setup[i]
        sums.setups[i] += 1.0
    state.serves[u], state.last[u], state.end[u] = i, i, now + time


@njit(cache=True)
def put_back(state, u):
    """Server u leaves its job, which waits before all others of its queue."""
    i, capacity = state.serves[u], state.stamps.shape[1]
    state.head[i] = (state.head[i] - 1) % capacity
    state.stamps[i, state.head[i]] = state.came[u]
    state.waiting[i] += 1
    state.serves[u], state.end[u] = FREE, inf


@njit(cache=True)
def index(policy, state, s, i):
    """How much pool s wants to serve queue i."""
    constant, slope, age = policy
    found = constant[s, i]
    for j in range(state.jobs.shape[0]):
        found += slope[s, i, j] * state.jobs[j]
    if age[s, i] != 0.0 and state.waiting[i] > 0:
        found += age[s, i] * (state.clock[0] - state.stamps[i, state.head[i]])
    return found


@njit(cache=True)
def assign(tables, policy, state, sums, free, wanted, rng):
    """Free servers take waiting jobs, the largest index first; of equals the first pair.

    `free` (S,) and `wanted` (S, K) are int64 for use in here: servers to give, and given.
    """
    S, K = tables.mu.shape
    U = state.serves.shape[0]
    preemptive = tables.preemptive[0]
    free[:] = 0
    for u in range(U):
        if preemptive or state.serves[u] == FREE:
            free[tables.pool_of[u]] += 1
    wanted[:] = 0
    rest = state.jobs.copy() if preemptive else state.waiting.astype(np.float64)
    while True:
        best, pool, queue = -inf, FREE, FREE
        for s in range(S):
            if free[s] > 0:
                for i in range(K):
                    if rest[i] > 0.0 and tables.mu[s, i] > 0.0:
                        found = index(policy, state, s, i)
                        if found >= 0.0 and found > best:
                            best, pool, queue = found, s, i
        if pool == FREE:
            break
        given = min(free[pool], int(rest[queue]))
        wanted[pool, queue] += given
        free[pool] -= given
        rest[queue] -= given
    if preemptive:  # who serves what is wanted goes on
        for u in range(U):
            i, s = state.serves[u], tables.pool_of[u]
            if i != FREE:
                if wanted[s, i] > 0:
                    wanted[s, i] -= 1
                else:
                    put_back(state, u)
    for s in range(S):
        for i in range(K):
            while wanted[s, i] > 0:
                chosen = FREE
                for u in range(U):
                    able = tables.pool_of[u] == s and state.serves[u] == FREE
                    if able and (chosen == FREE or state.last[chosen] != i == state.last[u]):
                        chosen = u  # one that needs no setup, if there is one
                begin(tables, state, sums, chosen, i, rng)
                wanted[s, i] -= 1


@njit(cache=True)
def pass_time(tables, state, sums, until):
    """Nothing happens until then."""
    span = until - state.clock[0]
    for i in range(state.jobs.shape[0]):
        sums.area[i] += span * state.jobs[i]
    for u in range(state.serves.shape[0]):
        if state.serves[u] != FREE:
            sums.busy[tables.pool_of[u], state.serves[u]] += span
    state.clock[0] = until


@njit(cache=True)
def advance(tables, policy, state, sums, arrivals, services, until, most, resolution):
    """Go on until a time, or until a number of events.

    Args:
        tables: The network's constants.
        policy: The arrays constant, slope and age of a `NetworkPolicy`.
        state: Advanced in place.
        sums: Advanced in place.
        arrivals: NumPy's Generator of the arrivals, which no policy changes.
        services: NumPy's Generator of services and routes.
        until: Time.
        most: Events.
        resolution: The histogram's unit of time.

    Returns:
        REACHED, ENOUGH, or FULL: the rings need more room; call again with it.
    """
    S, K = tables.mu.shape
    free, wanted = np.zeros(S, dtype=np.int64), np.zeros((S, K), dtype=np.int64)
    for _ in range(most):
        for i in range(K):
            if state.waiting[i] >= state.stamps.shape[1] - state.serves.shape[0] - 1:
                return FULL
        assign(tables, policy, state, sums, free, wanted, services)
        source, queue, soonest = FREE, FREE, inf
        for i in range(K):
            if state.due[i] < soonest:
                queue, soonest = i, state.due[i]
        for u in range(state.serves.shape[0]):
            if state.end[u] < soonest:
                source, soonest = u, state.end[u]
        if soonest >= until:
            pass_time(tables, state, sums, until)
            return REACHED
        pass_time(tables, state, sums, soonest)
        sums.events[0] += 1
        if source == FREE:
            state.due[queue] = soonest + next_time(
                tables.lam[queue], tables.arrival_scv[queue], arrivals
            )
            join(tables, state, sums, queue, soonest)
            continue
        queue = state.serves[source]
        state.serves[source], state.end[source] = FREE, inf
        state.jobs[queue] -= 1.0
        delay = soonest - state.came[source]
        sums.ended[queue] += 1.0
        sums.delay[queue] += delay
        sums.histogram[queue, delay_bin(delay / resolution)] += 1.0
        u01, goes = services.random(), FREE
        for j in range(K):
            if u01 < tables.exits[queue, j]:
                goes = j
                break
        if goes == FREE:
            sums.left[0] += 1.0
        else:
            join(tables, state, sums, goes, soonest)
    return ENOUGH
