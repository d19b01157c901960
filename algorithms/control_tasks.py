"""The control tasks of `envs/risk` as tasks of RLlib's algorithms."""

from ray.tune.registry import register_env

from tenfold.envs.risk.collected import make_collected
from tenfold.envs.risk.control import make_control
from tenfold.envs.risk.control_names import COLLECTED_NAMES, CONTROL_NAMES


def register_control_tasks() -> None:
    """Make every control task's name a valid `AlgorithmConfig.environment` of this process."""
    for name in CONTROL_NAMES:
        register_env(name, lambda env_config, name=name: make_control(name, **env_config))


def register_collected_tasks() -> None:
    """The same for the tasks that tell what was collected so far."""
    for name in COLLECTED_NAMES:
        register_env(name, lambda env_config, name=name: make_collected(name, **env_config))
