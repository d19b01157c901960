"""The control tasks of `envs/risk` as tasks of RLlib's algorithms."""

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.registry import register_env

from tenfold.envs.risk.collected import make_collected
from tenfold.envs.risk.continuous import make_continuous
from tenfold.envs.risk.control import make_control
from tenfold.envs.risk.names import COLLECTED_NAMES, CONTINUOUS_NAMES, CONTROL_NAMES
from tenfold.platform.parameters import Parameters, parameters_of


def register_control_tasks() -> None:
    """Make every control task's name a valid `AlgorithmConfig.environment` of this process."""
    for name in CONTROL_NAMES:
        register_env(name, lambda env_config, name=name: make_control(name, **env_config))


def register_collected_tasks() -> None:
    """The same for the tasks that tell what was collected so far."""
    for name in COLLECTED_NAMES:
        register_env(name, lambda env_config, name=name: make_collected(name, **env_config))


def register_continuous_tasks() -> None:
    """The same for those with continuous actions."""
    for name in CONTINUOUS_NAMES:
        register_env(name, lambda env_config, name=name: make_continuous(name, **env_config))


def fields_of(builders: Mapping[str, Callable[..., Any]], task: str) -> type[Parameters] | None:
    """What a task's builder takes; None if it has no builder here.

    Args:
        builders: Task -> builder; an argument `alpha`, the risk level of a run, is not a field.
        task: A task's name.
    """
    return parameters_of(builders[task], leave_out=["alpha"]) if task in builders else None
