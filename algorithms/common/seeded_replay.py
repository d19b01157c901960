"""DQN and SAC whose every random draw follows the trial's seed.

RLlib's replay buffers, and the action spaces that it explores with before learning starts, draw
from generators of their own that no seed reaches, so that two runs with the same seed differ.
"""

from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.dqn import DQN
from ray.rllib.algorithms.sac import SAC


class SeededDQN(DQN):
    """RLlib's DQN; equal seeds give equal runs on one worker."""

    def setup(self, config: Any) -> None:
        super().setup(config)
        _seed_draws(self)


class SeededSAC(SAC):
    """RLlib's SAC; equal seeds give equal runs on one worker."""

    def setup(self, config: Any) -> None:
        super().setup(config)
        _seed_draws(self)


def _seed_draws(algorithm: Algorithm) -> None:
    algorithm.local_replay_buffer.rng = np.random.default_rng(algorithm.config.seed)
    algorithm.env_runner_group.foreach_env_runner(
        lambda runner: runner.env and runner.env.action_space.seed(runner._seed)
    )
