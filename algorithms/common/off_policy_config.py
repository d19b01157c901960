"""What configs of `ReplayLoop` share where RLlib has no config of the algorithm: TD3 and others."""

from typing import Any, Literal, Self

from gymnasium import spaces
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.greedy_evaluation import EVALUATION_CONFIG
from tenfold.algorithms.common.gymnasium_tasks import GymnasiumConfig
from tenfold.algorithms.common.transition_replay import TransitionRunner
from tenfold.platform.parameters import Parameters, parameter


class UniformBuffer(Parameters):
    """Single steps, each as likely to be drawn."""

    type: Literal["EpisodeReplayBuffer"] = parameter("EpisodeReplayBuffer", "Uniform")
    capacity: int = parameter(1_000_000, "Steps that it holds", ge=1, le=10**9)


class ReplayLoopConfig(GymnasiumConfig, AlgorithmConfig):
    """Continuous actions with bounds, a uniform replay, and a learning rate for each network."""

    actions = (spaces.Box,)
    bounded = True
    replay_buffer_config: dict[str, Any]

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class)
        self.lr = None
        self.env_runner_cls = TransitionRunner
        self.evaluation_config = dict(EVALUATION_CONFIG)
        # Some networks are not part of some gradient steps; several learners must know that.
        self.torch_ddp_kwargs = {"find_unused_parameters": True}

    @override(AlgorithmConfig)
    def training(
        self, *, replay_buffer_config: dict[str, Any] | None = None, **settings: Any
    ) -> Self:
        """RLlib's settings of training, and entries of `replay_buffer_config`."""
        super().training(**settings)
        if replay_buffer_config is not None:
            self.replay_buffer_config = {**self.replay_buffer_config, **replay_buffer_config}
        return self

    @override(AlgorithmConfig)
    def validate(self) -> None:
        """Check types and bounds, and that no key is set that the method has several of.

        Raises:
            ValueError: One sentence that names what does not fit.
        """
        super().validate()
        if self.lr is not None:
            rates = [f"'{key}'" for key in self.Parameters.model_fields if key.endswith("_lr")]
            raise ValueError(
                f"Bad value {self.lr} for 'lr': each network has a learning rate of its own, set "
                f"{', '.join(rates[:-1])} and {rates[-1]}."
            )

    @override(AlgorithmConfig)
    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        length = self.rollout_fragment_length
        return 1 if length == "auto" else int(length)
