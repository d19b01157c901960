"""Every symbol of TD3 with its default; the authors' values except for the steps below."""

from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.greedy_evaluation import GreedyEvaluation
from tenfold.algorithms.common.network_parameters import LearningRate, NetworkParameters
from tenfold.algorithms.common.off_policy_config import ReplayLoopConfig, UniformBuffer
from tenfold.algorithms.td3.algorithm import TD3
from tenfold.algorithms.td3.learner import TD3Learner
from tenfold.algorithms.td3.module import TD3Catalog, TD3Module
from tenfold.platform.parameters import parameter
from tenfold.platform.rllib_keys import Network


class TD3Config(ReplayLoopConfig):
    """TD3 (arXiv:1802.09477, algorithm 1); noises are in actions scaled to [-1, 1].

        y = r + gamma (1 - terminated) min_i Q'_i(s', a'),
        a' = clip(pi'(s') + clip(N(0, target_policy_noise^2), +-target_noise_clip), +-1)

    Q_1 and Q_2 learn y at every gradient step. At every `policy_delay`-th, pi ascends Q_1(s, pi(s))
    and the three targets follow by tau.

    An iteration ends by `min_sample_timesteps_per_iteration` alone, so that equal seeds give equal
    iterations.
    """

    class Parameters(GreedyEvaluation, NetworkParameters):
        """TD3; it has two learning rates in place of RLlib's `lr`."""

        actor_lr: LearningRate = parameter(3e-4, "Learning rate of the policy, or its schedule")
        critic_lr: LearningRate = parameter(3e-4, "Learning rate of Q, or its schedule")
        network: Network = parameter(
            {"fcnet_hiddens": [256, 256], "fcnet_activation": "relu"},
            "Layers of the networks",
            alias="model_config",
        )
        train_batch_size_per_learner: int = parameter(
            256, "Steps of a training batch, for each learner", ge=1, le=10**9
        )
        tau: float = parameter(
            5e-3, "Share of the networks that their targets take over", gt=0, le=1
        )
        twin_q: bool = parameter(True, "The lesser of two Q functions")
        policy_delay: int = parameter(
            2, "Gradient steps of Q for each of the policy and the targets", ge=1, le=10_000
        )
        target_policy_noise: float = parameter(
            0.2, "Deviation of the noise on the target's action", unit="of [-1, 1]", ge=0, le=1e3
        )
        target_noise_clip: float = parameter(
            0.5, "Largest noise on the target's action", unit="of [-1, 1]", ge=0, le=1e3
        )
        exploration_noise: float = parameter(
            0.1, "Deviation of the noise on collected actions", unit="of [-1, 1]", ge=0, le=1e3
        )
        utd_ratio: int = parameter(1, "Gradient steps for each collected step", ge=1, le=10_000)
        num_steps_sampled_before_learning_starts: int = parameter(
            10_000, "Steps of uniformly random actions before the first update", ge=0, le=10**9
        )
        min_sample_timesteps_per_iteration: int = parameter(
            1_000, "Fewest steps between two results", unit="env steps", ge=0, le=10**12
        )
        replay_buffer_config: UniformBuffer = parameter(
            {"type": "EpisodeReplayBuffer", "capacity": 1_000_000}, "The replay buffer"
        )
        store_buffer_in_checkpoints: bool = parameter(False, "Save the buffer in checkpoints too")

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or TD3)

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=TD3Module, catalog_class=TD3Catalog)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[TD3Learner]:
        return TD3Learner

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        """What the module reads beside its layers."""
        told = {
            "twin_q": self.twin_q,
            "target_policy_noise": self.target_policy_noise,
            "target_noise_clip": self.target_noise_clip,
            "exploration_noise": self.exploration_noise,
            "random_steps": self.num_steps_sampled_before_learning_starts,
        }
        return super()._model_config_auto_includes | told
