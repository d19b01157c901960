"""Queue scenarios as tasks of RLlib's own algorithms, judged like the schedulers.

A scenario's name stands for the Gymnasium environment ``tenfold/Queues-v0`` of that scenario, so
that PPO and DQN are learned baselines of queue scheduling in the same experiment. Their episodes
log ``backlog_mean``, the time-average total backlog (work units), beside the return.
"""

from typing import Any

import gymnasium as gym
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.tune.registry import register_env

import tenfold.envs.queues  # noqa: F401  (registers tenfold/Queues-v0)
from tenfold.envs.queues.names import SCENARIO_NAMES

# A learner needs episodes that end; a scenario's own horizon is a run of a million slots.
EPISODE_SLOTS = 1_000


class BacklogCallback(RLlibCallback):
    """Logs the time-average backlog of each finished episode of a queue task.

    The environment's reward is minus the total backlog, so the mean reward is its negative. On
    other tasks nothing is logged.
    """

    def on_episode_end(self, *, episode: Any, metrics_logger: Any, **kwargs: Any) -> None:
        infos = episode.get_infos()
        if infos and "departures" in infos[-1]:
            backlog = -episode.get_return() / len(episode)
            metrics_logger.log_value("backlog_mean", backlog, window=100)


def register_queue_tasks() -> None:
    """Make every scenario's name a valid `AlgorithmConfig.environment` of this process."""
    for scenario in SCENARIO_NAMES:
        register_env(
            scenario,
            lambda env_config, scenario=scenario: gym.make(
                "tenfold/Queues-v0", scenario=scenario, **{"horizon": EPISODE_SLOTS, **env_config}
            ),
        )
