"""Quantile agents of ours and their peer, trained with one budget; shared by the deep measurements.

sb3-contrib's QR-DQN, which is risk-neutral, has the same steps, network, batch and exploration.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from tenfold.algorithms.quantile_critic import QuantileConfig

LEVELS = (0.1, 0.25, 0.5, 1.0)
JUDGED = 0.25
QR_DQN = "QR-DQN (sb3-contrib)"
LR, COLLECTED, WARMUP = 3e-3, 24, 500  # environment steps between updates, and before the first

Policy = Callable[[np.ndarray], np.ndarray]  # observations (B, n) to actions (B,)


def quantile_agent(
    config: QuantileConfig, steps: int, exploring: int, exploration: float
) -> Policy:
    """The greedy policy of an agent of ours after some environment steps.

    Args:
        config: Its task, seed and risk.
        steps: At least so many.
        exploring: Steps over which random actions fall from all to `exploration`.
        exploration: Their share afterwards.
    """
    config.update_from_dict(
        {
            "num_envs_per_env_runner": COLLECTED,
            "lr": LR,
            "num_steps_sampled_before_learning_starts": WARMUP,
            "tau": 0.2,
            "epsilon": [[0, 1.0], [exploring, exploration]],
        }
    )
    agent = config.build_algo()
    while agent.train()["num_env_steps_sampled_lifetime"] < steps:
        pass
    module = agent.get_module()
    agent.stop()

    def policy(seen: np.ndarray) -> np.ndarray:
        actions = module.forward_inference({"obs": torch.as_tensor(seen)})["actions"]
        return np.asarray(actions)

    return policy


def qr_dqn(
    env: gym.Env[np.ndarray, Any], seed: int, steps: int, exploring: int, exploration: float
) -> Policy:
    """The greedy policy of sb3-contrib's QR-DQN; arguments as of `quantile_agent`."""
    from sb3_contrib import QRDQN

    agent = QRDQN(
        "MlpPolicy",
        env,
        learning_rate=LR,
        batch_size=64,
        train_freq=COLLECTED,
        learning_starts=WARMUP,
        target_update_interval=240,
        exploration_fraction=exploring / steps,
        exploration_final_eps=exploration,
        gamma=1.0,
        policy_kwargs={"net_arch": [64, 64], "n_quantiles": 40},
        seed=seed,
    )
    agent.learn(steps)
    return lambda seen: agent.predict(seen, deterministic=True)[0]
