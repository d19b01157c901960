"""The table of schedulers, by the names that configs and the command line use."""

from typing import Any

from tenfold.algorithms.softmw.baselines import (
    EXP3S,
    DiscountedUCB,
    Empirical,
    EpsilonGreedy,
    LongestQueue,
    Oracle,
    RoundRobin,
    Thompson,
    Uniform,
    WindowUCB,
)
from tenfold.algorithms.softmw.fast import SoftMWFast
from tenfold.algorithms.softmw.scheduler import CompiledScheduler
from tenfold.algorithms.softmw.softmw import (
    SSMW,
    DoublingSSMW,
    SoftMW,
    SoftMWPlus,
    SSMWPlus,
    UnclippedSoftMW,
    UnclippedSSMW,
)
from tenfold.envs.queues.scenario import Scenario

_ALL: tuple[type[CompiledScheduler], ...] = (
    SoftMW,
    SSMW,
    DoublingSSMW,
    SoftMWPlus,
    SSMWPlus,
    UnclippedSoftMW,
    UnclippedSSMW,
    SoftMWFast,
    Oracle,
    Empirical,
    DiscountedUCB,
    WindowUCB,
    Thompson,
    EpsilonGreedy,
    EXP3S,
    Uniform,
    RoundRobin,
    LongestQueue,
)
SCHEDULERS: dict[str, type[CompiledScheduler]] = {scheduler.name: scheduler for scheduler in _ALL}


def make_scheduler(
    name: str, scenario: Scenario, replicas: int, **constants: Any
) -> CompiledScheduler:
    """A scheduler for a scenario: its number of queues, and its bound M on a slot's work.

    Args:
        name: A key of `SCHEDULERS`.
        scenario: The world to serve.
        replicas: Rows of memory.
        **constants: See the scheduler's `Constants`.

    Raises:
        ValueError: An unknown constant or a bad value.
    """
    return SCHEDULERS[name](scenario.K, replicas, scenario.bound, **constants)
