"""Config of OMNet on SAC, and of its peers in the same code: every default stands here."""

from typing import Annotated, Any, Literal

from gymnasium import spaces
from pydantic import Field
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from tenfold.algorithms.common.gymnasium_tasks import GymnasiumConfig
from tenfold.algorithms.common.network_parameters import LearningRate, NetworkParameters
from tenfold.algorithms.omnet.algorithm import OMNet
from tenfold.algorithms.omnet.learner import OMNetLearner
from tenfold.algorithms.omnet.module import OMNetModule
from tenfold.algorithms.omnet.runner import SubnetworkRunner
from tenfold.algorithms.omnet.settings import SubnetworkParameters, SubnetworkSettings
from tenfold.platform import parameters
from tenfold.platform.parameters import parameter
from tenfold.platform.rllib_keys import Sizes

# REDQ's and MBPO's target entropies (arXiv:2101.05982, appendix), by the beginning of a task's id.
TARGET_ENTROPIES = {"Hopper": -1.0, "HalfCheetah": -3.0, "Walker2d": -3.0, "Ant": -4.0}
TARGET_ENTROPIES["Humanoid-"] = -2.0


class Layers(parameters.Parameters):
    """Perceptrons of critic and policy."""

    fcnet_hiddens: Annotated[Sizes, Field(min_length=1)] = parameter(
        [256, 256], "Units of each hidden layer"
    )
    fcnet_activation: Literal["relu", "tanh", "elu", "silu", "swish"] = parameter(
        "relu", "Activation after these layers"
    )


class UniformReplay(parameters.Parameters):
    """The replay: single steps, drawn uniformly."""

    type: Literal["EpisodeReplayBuffer"] = parameter("EpisodeReplayBuffer", "Uniform")
    capacity: int = parameter(1_000_000, "Steps that it holds", ge=1, le=10**9)
    metrics_num_episodes_for_smoothing: int = parameter(
        100, "RLlib fills it in from the key of this name", ge=1, le=10**9
    )


class OMNetConfig(SubnetworkSettings, GymnasiumConfig, SACConfig):
    """SAC with subnetworks in critic and policy.

    `OMNetConfig().environment("Hopper-v5").omnet(num_subnets=5, sparsity=0.5)` is set as any config
    of RLlib's. RLlib's `batch_mode` is another key, so OMNet's is `subnet_batch_mode`; its
    `start_steps` is RLlib's `num_steps_sampled_before_learning_starts`.
    """

    class Parameters(SubnetworkParameters, NetworkParameters):
        """OMNet on SAC; it has three learning rates in place of RLlib's `lr`."""

        actor_lr: LearningRate = parameter(3e-4, "Learning rate of the policy, or its schedule")
        critic_lr: LearningRate = parameter(3e-4, "Learning rate of Q, or its schedule")
        alpha_lr: LearningRate = parameter(3e-4, "Learning rate of alpha, or its schedule")
        train_batch_size_per_learner: int = parameter(
            256, "Steps of a training batch, for each learner", ge=1, le=10**9
        )
        tau: float = parameter(
            5e-3, "Share of the network that its target takes over in an update", gt=0, le=1
        )
        target_network_update_freq: int = parameter(
            0, "Steps between two updates of the target", unit="env steps", ge=0, le=10**9
        )
        initial_alpha: float = parameter(1.0, "Weight alpha of the entropy at first", gt=0, le=1e6)
        utd_ratio: int = parameter(
            5,
            "Gradient steps of the critic for each collected step, each on a fresh batch",
            ge=1,
            le=10_000,
        )
        policy_delay: int | None = parameter(
            None, "Gradient steps of the critic for one of the policy; utd_ratio when null", ge=1
        )
        network: Layers = parameter(
            {"fcnet_hiddens": [256, 256], "fcnet_activation": "relu"},
            "Layers of the networks",
            alias="model_config",
        )
        num_steps_sampled_before_learning_starts: int = parameter(
            1_000,
            "Steps with random actions before the first update (start_steps); 5000 at utd_ratio=20",
            ge=0,
            le=10**9,
        )
        rollout_fragment_length: int = parameter(
            1, "Steps of each environment between two updates", ge=1, le=10**6
        )
        target_entropy: Annotated[float, Field(ge=-1e6, le=1e6)] | Literal["auto", "table"] = (
            parameter(
                "auto",
                "The entropy that alpha is adapted to: minus the number of actions when auto, "
                "REDQ's of the task when table",
            )
        )
        value_bias_episodes: int = parameter(
            10, "Episodes of an evaluation that the critic's bias is measured on", ge=0, le=10_000
        )
        evaluation_interval: int | None = parameter(
            1, "Iterations between two evaluations; none when null", ge=1, le=10**9
        )
        evaluation_duration: int = parameter(10, "Episodes of an evaluation", ge=1, le=10**6)
        replay_buffer_config: UniformReplay = parameter(
            {"type": "EpisodeReplayBuffer", "capacity": 1_000_000}, "The replay"
        )
        store_buffer_in_checkpoints: bool = parameter(False, "Save the replay in checkpoints too")
        min_sample_timesteps_per_iteration: int = parameter(
            1_000, "Fewest steps between two results", unit="env steps", ge=0, le=10**12
        )
        n_step: Literal[1] = parameter(1, "Targets look one step ahead")
        twin_q: Literal[False] = parameter(False, "num_critics says how many there are")
        training_intensity: None = parameter(None, "utd_ratio says it")

    actions = (spaces.Box,)
    bounded = True

    def __init__(self) -> None:
        super().__init__(algo_class=OMNet)
        self.env_runner_cls = SubnetworkRunner
        # Ten environments play the ten episodes of an evaluation together.
        self.evaluation_config = {"explore": False, "num_envs_per_env_runner": 10}

    def validate(self) -> None:
        """Check types, bounds, spaces, keys against each other, and draw the masks.

        Raises:
            ValueError: One sentence that names what does not fit.
        """
        super().validate()
        if not isinstance(self.env, str):
            return
        observations, actions = self.task_spaces()
        if not isinstance(observations, spaces.Box) or len(observations.shape) != 1:
            raise ValueError(
                f"Task '{self.env}' has the observations {observations!s:.80}, but this method "
                "takes a vector: choose another task or another method."
            )
        seen, acts = observations.shape[0], actions.shape[0]
        hiddens = self.model_config["fcnet_hiddens"]
        self.check_subnetworks(
            [seen + acts, *hiddens, 1],
            [seen, *hiddens, 2 * acts],
            self.train_batch_size_per_learner,
        )

    def critic_steps_per_actor_step(self) -> int:
        """`policy_delay`, or one actor step after the `utd_ratio` steps of the critic."""
        return int(self.policy_delay or self.utd_ratio)

    def entropy_target(self, action_size: int) -> float:
        """The entropy that alpha is adapted to.

        Args:
            action_size: Entries of an action.
        """
        if self.target_entropy == "table":
            named = (TARGET_ENTROPIES[key] for key in TARGET_ENTROPIES if self.env.startswith(key))
            return next(named, -float(action_size))
        return -float(action_size) if self.target_entropy == "auto" else self.target_entropy

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        layers = {**Layers().model_dump(), **self._model_config}
        told = {
            **self.subnetworks(),
            "hiddens": layers["fcnet_hiddens"],
            "activation": layers["fcnet_activation"],
            "initial_alpha": self.initial_alpha,
            "critic_masks": vars(self.critic_masks()),
            "policy_masks": vars(self.policy_masks()),
        }
        return {**super()._model_config_auto_includes, "omnet": told}

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=OMNetModule)

    def get_default_learner_class(self) -> type[OMNetLearner]:
        return OMNetLearner
