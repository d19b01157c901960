"""Replicas of a network under a policy, and what was measured of them."""

from dataclasses import dataclass
from math import inf

import numpy as np

from tenfold.envs.queues import network_kernel as kernel
from tenfold.envs.queues.metrics import histogram_quantile
from tenfold.envs.queues.network import Network
from tenfold.envs.queues.network_policies import NetworkPolicy

RESOLUTION = 1 / 64  # of the mean of the quickest service: the histogram's unit of time
MOST_EVENTS = 2**62


@dataclass(frozen=True)
class NetworkMetrics:
    """Measurements over `time` after the warm-up; R replicas, K queues, S pools.

    Attributes:
        time: Length of the measurement.
        jobs: Mean number of jobs of each queue, in service too (R, K).
        cost: Mean holding cost in a unit of time (R,).
        delay: Mean time of the jobs that ended their service at each queue, from coming there
            (R, K); NaN where none ended.
        delay_p99: 99th percentile of it (R, K), within 1.6 % or 1/64 of the quickest service.
        throughput: Jobs that ended their service at each queue in a unit of time (R, K).
        lost: Share of the jobs that came to each queue and found no room (R, K).
        busy: Share of the time that a server of each pool worked, setups included (R, S).
        setups: Setups of each queue in a unit of time (R, K).
        sojourn: Mean time in the network, by Little's law (R,).
        events: Arrivals and ends of services (R,).
    """

    time: float
    jobs: np.ndarray
    cost: np.ndarray
    delay: np.ndarray
    delay_p99: np.ndarray
    throughput: np.ndarray
    lost: np.ndarray
    busy: np.ndarray
    setups: np.ndarray
    sojourn: np.ndarray
    events: np.ndarray


class NetworkReplica:
    """One replica of a network; two policies with the same seed meet the same outside arrivals."""

    def __init__(self, network: Network, seed: int = 0, replica: int = 0) -> None:
        """At time 0.

        Args:
            network: What is simulated.
            seed: Of all random streams, >= 0.
            replica: Which of a seed's independent copies.

        Raises:
            ValueError: A number below 0.
        """
        if seed < 0 or replica < 0:
            raise ValueError(f"seed and replica must be >= 0, not {seed} and {replica}.")
        self.network = network
        self.tables = kernel.network_tables(network)
        pair = np.random.SeedSequence(seed, spawn_key=(replica,)).spawn(2)
        self.arrivals, self.services = (np.random.default_rng(each) for each in pair)
        self.state = kernel.start_state(network, self.arrivals)
        self.sums = kernel.no_sums(network.S, network.K)
        self.resolution = RESOLUTION / max(max(row) for row in network.mu)

    def run(self, policy: NetworkPolicy, until: float = inf, events: int = MOST_EVENTS) -> None:
        """Go on until a time, or for a number of events, whichever comes first.

        Raises:
            ValueError: Neither is given.
        """
        if until == inf and events == MOST_EVENTS:
            raise ValueError("give until, events or both: a network goes on for ever.")
        arrays = (policy.constant, policy.slope, policy.age)
        last = int(self.sums.events[0]) + events
        reason = kernel.FULL
        while reason == kernel.FULL:
            reason = kernel.advance(
                self.tables,
                arrays,
                self.state,
                self.sums,
                self.arrivals,
                self.services,
                until,
                last - int(self.sums.events[0]),
                self.resolution,
            )
            if reason == kernel.FULL:
                self._widen()

    def forget(self) -> None:
        """End of the warm-up: count from now on only."""
        self.sums = kernel.no_sums(self.network.S, self.network.K)

    def _widen(self) -> None:
        """Twice the room for waiting jobs."""
        stamps, head = self.state.stamps, self.state.head
        capacity = stamps.shape[1]
        wider = np.zeros((len(stamps), 2 * capacity))
        for i, first in enumerate(head):
            wider[i, :capacity] = np.roll(stamps[i], -first)
        self.state = self.state._replace(stamps=wider, head=np.zeros_like(head))


def simulate_network(
    network: Network,
    policy: NetworkPolicy,
    time: float,
    replicas: int = 1,
    seed: int = 0,
    warmup: float = 0.0,
) -> NetworkMetrics:
    """Independent replicas of a network under a policy.

    Args:
        network: What is simulated.
        policy: Who serves whom.
        time: How long is measured, > 0.
        replicas: R.
        seed: Of all random streams.
        warmup: How long before that is not.

    Raises:
        ValueError: A number out of range.
    """
    if not (time > 0 and warmup >= 0 and replicas >= 1):
        raise ValueError(
            f"time must be above 0, warmup 0 or more and replicas 1 or more, not {time}, {warmup} "
            f"and {replicas}."
        )
    runs = [NetworkReplica(network, seed, replica) for replica in range(replicas)]
    for run in runs:
        run.run(policy, warmup)
        run.forget()
        run.run(policy, warmup + time)
    return _metrics(network, runs, time)


def _metrics(network: Network, runs: list[NetworkReplica], time: float) -> NetworkMetrics:
    def gathered(name: str) -> np.ndarray:
        return np.array([getattr(run.sums, name) for run in runs])

    jobs, ended, came, lost = (gathered(n) for n in ("area", "ended", "came", "lost"))
    jobs = jobs / time
    p99 = [
        [histogram_quantile(row, 0.99) * run.resolution for row in run.sums.histogram]
        for run in runs
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        return NetworkMetrics(
            time=time,
            jobs=jobs,
            cost=jobs @ network.costs,
            delay=gathered("delay") / ended,
            delay_p99=np.array(p99),
            throughput=ended / time,
            lost=lost / (came + lost),
            busy=gathered("busy").sum(axis=2) / (time * network.pool),
            setups=gathered("setups") / time,
            sojourn=jobs.sum(axis=1) / (gathered("left")[:, 0] / time),
            events=gathered("events")[:, 0],
        )
