"""Config of the SAC baseline: RLlib's defaults but for what is named here."""

from typing import Annotated, Literal

from gymnasium import spaces
from pydantic import Field
from ray.rllib.algorithms.sac import SACConfig

from tenfold.algorithms.gymnasium_tasks import GymnasiumConfig
from tenfold.algorithms.network_parameters import Buffer, LearningRate, ReplayParameters
from tenfold.algorithms.seeded_replay import SeededSAC
from tenfold.platform.parameters import parameter
from tenfold.platform.rllib_keys import Network


class SACBaselineConfig(GymnasiumConfig, SACConfig):
    """SAC sized for a laptop.

    RLlib's SAC ends an iteration by the clock; equal seeds must give equal iterations, so here it
    ends by `min_sample_timesteps_per_iteration` alone.
    """

    class Parameters(ReplayParameters):
        """Soft actor-critic; it has three learning rates in place of RLlib's `lr`."""

        actor_lr: LearningRate = parameter(3e-4, "Learning rate of the policy, or its schedule")
        critic_lr: LearningRate = parameter(3e-4, "Learning rate of Q, or its schedule")
        alpha_lr: LearningRate = parameter(3e-4, "Learning rate of alpha, or its schedule")
        network: Network = parameter({}, "Layers of the networks", alias="model_config")
        train_batch_size_per_learner: int = parameter(
            256, "Steps of a training batch, for each learner", ge=1, le=10**9
        )
        num_steps_sampled_before_learning_starts: int = parameter(
            1_500, "Steps that are collected before the first update", ge=0, le=10**9
        )
        replay_buffer_config: Buffer = parameter(
            {
                "type": "PrioritizedEpisodeReplayBuffer",
                "capacity": 1_000_000,
                "alpha": 0.6,
                "beta": 0.4,
            },
            "The replay buffer",
        )
        tau: float = parameter(
            5e-3, "Share of the network that its target takes over in an update", gt=0, le=1
        )
        target_network_update_freq: int = parameter(
            0, "Steps between two updates of the target", unit="env steps", ge=0, le=10**9
        )
        twin_q: bool = parameter(True, "The lesser of two Q functions")
        initial_alpha: float = parameter(1.0, "Weight alpha of the entropy at first", gt=0, le=1e6)
        target_entropy: Annotated[float, Field(ge=-1e6, le=1e6)] | Literal["auto"] = parameter(
            "auto", "The entropy that alpha is adapted to; minus the number of actions when auto"
        )

    actions = (spaces.Box,)
    bounded = True

    def __init__(self) -> None:
        super().__init__(algo_class=SeededSAC)
