"""Queue scenarios as tasks of RLlib's own algorithms, judged like the schedulers.

A scenario's name stands for the Gymnasium environment ``tenfold/Queues-v0`` of that scenario, so
that PPO and DQN are learned baselines of queue scheduling in the same experiment. The reward is
minus the total backlog, so the time-average backlog is minus `episode_return_mean` over
`episode_len_mean`.
"""

import gymnasium as gym
from ray.tune.registry import register_env

import tenfold.envs.queues  # noqa: F401  (registers tenfold/Queues-v0)
from tenfold.envs.queues.names import SCENARIO_NAMES

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
