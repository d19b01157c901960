"""Config of the SAC baseline: RLlib's defaults except for what is named here."""

from typing import Annotated, Literal

from gymnasium import spaces
from pydantic import Field
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from tenfold.algorithms.common.greedy_evaluation import EVALUATION_CONFIG, GreedyEvaluation
from tenfold.algorithms.common.gymnasium_tasks import GymnasiumConfig
from tenfold.algorithms.common.joint_critic import JointCriticCatalog
from tenfold.algorithms.common.network_parameters import Buffer, LearningRate, ReplayParameters
from tenfold.algorithms.common.transition_replay import TransitionRunner
from tenfold.algorithms.sac.algorithm import ReplaySAC, ReplaySACLearner
from tenfold.algorithms.sac.module import SACModule
from tenfold.platform.parameters import parameter
from tenfold.platform.rllib_keys import Network


class SACBaselineConfig(GymnasiumConfig, SACConfig):
    """SAC sized for a laptop.

    RLlib's SAC ends an iteration by the clock; equal seeds must give equal iterations, so here it
    ends by `min_sample_timesteps_per_iteration` alone.
    """

    class Parameters(GreedyEvaluation, ReplayParameters):
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
                "type": "EpisodeReplayBuffer",
                "capacity": 1_000_000,
                "alpha": 0.6,
                "beta": 0.4,
            },
            "The replay buffer",
        )
        utd_ratio: int | None = parameter(
            None,
            "Gradient steps for each collected step; one a round, or by training_intensity when "
            "null",
            ge=1,
            le=10_000,
        )
        q_network: Literal["joint", "streams"] = parameter(
            "joint",
            "Q reads observation and action together, or (RLlib's way, and always on images) each "
            "by an encoder of its own",
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
        super().__init__(algo_class=ReplaySAC)
        self.env_runner_cls = TransitionRunner
        self.evaluation_config = dict(EVALUATION_CONFIG)

    def validate(self) -> None:
        """Check types and bounds, and that one key says how often it learns.

        Raises:
            ValueError: One sentence that names what does not fit.
        """
        super().validate()
        if self.utd_ratio is not None:
            kind = self.replay_buffer_config["type"]
            if self.training_intensity is not None:
                raise ValueError(
                    f"Bad value {self.utd_ratio} for 'utd_ratio': 'training_intensity' says the "
                    "same, set one of the two."
                )
            if kind != "EpisodeReplayBuffer" or self.n_step != 1:
                raise ValueError(
                    f"Bad value {self.utd_ratio} for 'utd_ratio': it is for single steps drawn "
                    "uniformly, set replay_buffer_config.type=EpisodeReplayBuffer and n_step=1, "
                    "or 'training_intensity' in its place."
                )

    def get_default_learner_class(self) -> type[ReplaySACLearner]:
        return ReplaySACLearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        catalog = JointCriticCatalog if self.q_network == "joint" else None
        return RLModuleSpec(module_class=SACModule, catalog_class=catalog)
