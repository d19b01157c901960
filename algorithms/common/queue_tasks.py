"""Queue scenarios as tasks of RLlib's own algorithms, evaluated like the schedulers.

A scenario's name means the Gymnasium environment ``tenfold/Queues-v0`` of that scenario, so
that PPO and DQN are learned baselines of queue scheduling in the same experiment. The reward is
minus the total backlog, so the time-average backlog is minus `episode_return_mean` over
`episode_len_mean`.
"""

from typing import Any, Literal

import gymnasium as gym
from pydantic import create_model
from ray.tune.registry import register_env

import tenfold.envs.queues  # noqa: F401  (registers tenfold/Queues-v0)
from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.platform.parameters import Parameters, parameter

# A learner needs episodes that end; a scenario's own horizon is a run of a million slots.
EPISODE_SLOTS = 1_000


def register_queue_tasks() -> None:
    """Make every scenario's name a valid `AlgorithmConfig.environment` of this process."""
    for scenario in SCENARIO_NAMES:
        register_env(
            scenario,
            lambda env_config, scenario=scenario: gym.make(
                "tenfold/Queues-v0", scenario=scenario, **{"horizon": EPISODE_SLOTS, **env_config}
            ),
        )


class QueueFields(Parameters):
    """What an environment of queues takes besides the scenario's fields."""

    signal: Literal["service", "departures"] = parameter(
        "service", "What is learnt of the served queue"
    )
    reward: Literal["backlog", "drift"] = parameter(
        "backlog", "Minus the backlog after the slot, or minus the growth of its squares"
    )


def queue_parameters(scenario: str) -> type[Parameters]:
    """What `env_config` may change about a scenario; an environment is one replica of it."""
    from tenfold.envs.queues.scenarios import fields_of

    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in fields_of(scenario).model_fields.items()
        if name not in ("horizon", "replicas")
    }
    horizon = parameter(EPISODE_SLOTS, "Length of an episode", unit="slots", ge=1, le=10**9)
    return create_model(
        f"fields of {scenario}", __base__=QueueFields, **fields, horizon=(int, horizon)
    )
