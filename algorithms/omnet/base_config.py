"""What the configs of OMNet have in common, whatever the base algorithm."""

from typing import Annotated, Any, Literal

from gymnasium import spaces
from pydantic import Field

from tenfold.algorithms.common.gymnasium_tasks import GymnasiumConfig
from tenfold.algorithms.common.network_parameters import NetworkParameters
from tenfold.algorithms.omnet.runner import SubnetworkRunner
from tenfold.algorithms.omnet.settings import SubnetworkSettings
from tenfold.platform import parameters
from tenfold.platform.parameters import parameter
from tenfold.platform.rllib_keys import Sizes


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


class OffPolicyParameters(NetworkParameters):
    """Learning from replayed steps at a ratio of updates to data, and evaluations."""

    utd_ratio: int = parameter(
        5,
        "Gradient steps of the critic for each collected step, each on a fresh batch",
        ge=1,
        le=10_000,
    )
    network: Layers = parameter(
        {"fcnet_hiddens": [256, 256], "fcnet_activation": "relu"},
        "Layers of the networks",
        alias="model_config",
    )
    train_batch_size_per_learner: int = parameter(
        256, "Steps of a training batch, for each learner", ge=1, le=10**9
    )
    tau: float = parameter(
        5e-3, "Share of the network that its target takes over in an update", gt=0, le=1
    )
    target_network_update_freq: int = parameter(
        0, "Steps between two updates of the target", unit="env steps", ge=0, le=10**9
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
    min_sample_timesteps_per_iteration: int = parameter(
        1_000, "Fewest steps between two results", unit="env steps", ge=0, le=10**12
    )
    replay_buffer_config: UniformReplay = parameter(
        {"type": "EpisodeReplayBuffer", "capacity": 1_000_000}, "The replay"
    )
    store_buffer_in_checkpoints: bool = parameter(False, "Save the replay in checkpoints too")
    value_bias_episodes: int = parameter(
        10, "Episodes of an evaluation that the critic's bias is measured on", ge=0, le=10_000
    )
    evaluation_interval: int | None = parameter(
        1, "Iterations between two evaluations; none when null", ge=1, le=10**9
    )
    evaluation_duration: int = parameter(10, "Episodes of an evaluation", ge=1, le=10**6)
    n_step: Literal[1] = parameter(1, "Targets look one step ahead")
    training_intensity: None = parameter(None, "utd_ratio says it")


class SubnetworkConfig(SubnetworkSettings, GymnasiumConfig):
    """A config of OMNet; put it before RLlib's class of the base."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class)
        self.env_runner_cls = SubnetworkRunner
        # Ten environments play the ten episodes of an evaluation together.
        self.evaluation_config = {"explore": False, "num_envs_per_env_runner": 10}

    def observation_size(self) -> int:
        """Entries of an observation.

        Raises:
            ValueError: The task's observations are not vectors.
        """
        observations, _ = self.task_spaces()
        if not isinstance(observations, spaces.Box) or len(observations.shape) != 1:
            raise ValueError(
                f"Task '{self.env}' has the observations {observations!s:.80}, but this method "
                "takes a vector: choose another task or another method."
            )
        return int(observations.shape[0])

    def told(self) -> dict[str, Any]:
        """What a module of subnetworks reads in `model_config["omnet"]`."""
        layers = {**Layers().model_dump(), **self._model_config}
        return {
            **self.subnetworks(),
            "hiddens": layers["fcnet_hiddens"],
            "activation": layers["fcnet_activation"],
            "critic_masks": vars(self.critic_masks()),
        }


class ActorCriticSubnetworkConfig(SubnetworkConfig):
    """A config of OMNet with a policy network beside the critic."""

    policy_outputs: int  # of the policy's network, for each entry of an action

    def validate(self) -> None:
        """Check types, bounds, spaces, keys against each other, and draw the masks.

        Raises:
            ValueError: One sentence that names what does not fit.
        """
        super().validate()
        if isinstance(self.env, str):
            seen, acts = self.observation_size(), self.task_spaces()[1].shape[0]
            hiddens = self.told()["hiddens"]
            self.check_subnetworks(
                [seen + acts, *hiddens, 1],
                self.train_batch_size_per_learner,
                [seen, *hiddens, self.policy_outputs * acts],
            )
