"""What a synchronisation rule costs in averages, bytes and time, before anything runs.

A step takes `seconds_per_step`; an average sends 2 (K - 1) / K times the model through a ring of
the given bandwidth. Local steps send nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tenfold.algorithms.common.synchronisation import SyncRule


@dataclass(frozen=True)
class Cluster:
    """K workers.

    Attributes:
        workers: K.
        seconds_per_step: Time of a local step, without communication.
        bandwidth: Bytes a second that a worker sends while averaging.
    """

    workers: int
    seconds_per_step: float
    bandwidth: float

    def seconds_per_average(self, model_bytes: float) -> float:
        """Time of one ring all-reduce of the model."""
        return 2 * (self.workers - 1) / self.workers * model_bytes / self.bandwidth


@dataclass(frozen=True)
class Plan:
    """The cost of a run.

    Attributes:
        averages: Number of averages.
        fraction: Averages relative to one at every step.
        sent_bytes: Bytes that a worker sends.
        local_seconds: Time of the local steps.
        averaging_seconds: Time of the averages.
    """

    averages: int
    fraction: float
    sent_bytes: float
    local_seconds: float
    averaging_seconds: float

    @property
    def seconds(self) -> float:
        """Wall clock of the run."""
        return self.local_seconds + self.averaging_seconds


def plan(
    rule: SyncRule, learning_rate: Callable[[int], float], model_bytes: float, cluster: Cluster
) -> Plan:
    """Cost of a run of a rule; averages, fraction and bytes are exact.

    Args:
        rule: Length of each round, and the number of steps.
        learning_rate: eta_t of each step.
        model_bytes: Size of the parameters.
        cluster: Where it would run.
    """
    averages = sum(1 for _ in rule.rounds(learning_rate))
    K = cluster.workers
    return Plan(
        averages=averages,
        fraction=averages / rule.total,
        sent_bytes=2 * (K - 1) / K * model_bytes * averages,
        local_seconds=cluster.seconds_per_step * rule.total,
        averaging_seconds=cluster.seconds_per_average(model_bytes) * averages,
    )
