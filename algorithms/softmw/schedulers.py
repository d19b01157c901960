"""The table of schedulers, by the names that configs and the command line use.

Those of other packages are found by entry points (see registered.py) and loaded when asked for.
"""

from typing import Any

from tenfold.algorithms.softmw.baselines import (
    EXP3S,
    CMu,
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
from tenfold.algorithms.softmw.registered import ENTRY_POINT_GROUP, brought
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
    CMu,
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


def scheduler_class(name: str) -> type[CompiledScheduler]:
    """The scheduler of a name, built in or brought by an installed package.

    Raises:
        ValueError: There is none, two packages bring one, or an entry point leads elsewhere.
    """
    if name in SCHEDULERS:
        return SCHEDULERS[name]
    entries = brought().get(name, [])
    if len(entries) != 1:
        raise ValueError(
            f"Two installed packages bring the scheduler '{name}': uninstall one of them."
            if entries
            else f"There is no scheduler '{name}': choose one of "
            f"{', '.join(dict.fromkeys([*SCHEDULERS, *brought()]))}."
        )
    found = entries[0].load()
    if not (isinstance(found, type) and issubclass(found, CompiledScheduler)) or found.name != name:
        raise ValueError(
            f"The entry point '{name}' in group '{ENTRY_POINT_GROUP}' leads to "
            f"{entries[0].value}, which is not a subclass of CompiledScheduler named '{name}'."
        )
    return found


def make_scheduler(
    name: str, scenario: Scenario, replicas: int, **constants: Any
) -> CompiledScheduler:
    """A scheduler for a scenario: its number of queues, bound M on a slot's work, and costs.

    Args:
        name: As `scheduler_class` takes it.
        scenario: The scenario to serve.
        replicas: Rows of memory.
        **constants: See the scheduler's `Constants`.

    Raises:
        ValueError: As `scheduler_class`; an unknown constant or a bad value.
    """
    return scheduler_class(name)(scenario.K, replicas, scenario.bound, scenario.costs, **constants)
