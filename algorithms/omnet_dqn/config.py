"""Config of OMNet on DQN, and of its peers in the same code."""

from typing import Any, Literal

from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from tenfold.algorithms.common.network_parameters import LearningRate, Share
from tenfold.algorithms.common.queue_tasks import queue_parameters, register_queue_tasks
from tenfold.algorithms.omnet.base_config import (
    Layers,
    OffPolicyParameters,
    SubnetworkConfig,
    UniformReplay,
)
from tenfold.algorithms.omnet.settings import SubnetworkParameters
from tenfold.algorithms.omnet_dqn.algorithm import OMNetDQN, OMNetDQNLearner, OMNetDQNModule
from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.platform.parameters import Parameters as Model
from tenfold.platform.parameters import parameter

register_queue_tasks()


class OMNetDQNConfig(SubnetworkConfig, DQNConfig):
    """DQN with subnetworks: `OMNetDQNConfig().environment("CartPole-v1").omnet(num_subnets=5)`."""

    class Parameters(SubnetworkParameters, OffPolicyParameters):
        """OMNet on DQN."""

        lr: LearningRate = parameter(1e-3, "Learning rate of Adam, or its schedule")
        epsilon: Share = parameter(
            [[0, 1.0], [5_000, 0.02]], "Share of random actions, or its schedule"
        )
        double_q: bool = parameter(
            True, "The online members' mean chooses the next action, the target says its worth"
        )
        utd_ratio: int = parameter(
            1, "Gradient steps for each collected step, each on a fresh batch", ge=1, le=10_000
        )
        network: Layers = parameter(
            {"fcnet_hiddens": [128, 128], "fcnet_activation": "relu"},
            "Layers of the network",
            alias="model_config",
        )
        train_batch_size_per_learner: int = parameter(
            64, "Steps of a training batch, for each learner", ge=1, le=10**9
        )
        replay_buffer_config: UniformReplay = parameter(
            {"type": "EpisodeReplayBuffer", "capacity": 100_000}, "The replay"
        )
        num_atoms: Literal[1] = parameter(1, "Values are means of returns")
        dueling: Literal[False] = parameter(False, "A member has one head")

    def __init__(self) -> None:
        super().__init__(algo_class=OMNetDQN)

    @classmethod
    def own_task(cls, task: str) -> type[Model] | None:
        return queue_parameters(task) if task in SCENARIO_NAMES else None

    def validate(self) -> None:
        """Check types, bounds, spaces, keys against each other, and draw the masks.

        Raises:
            ValueError: One sentence that names what does not fit.
        """
        super().validate()
        if isinstance(self.env, str) and self.own_task(self.env) is None:
            layers = [self.observation_size(), *self.told()["hiddens"]]
            actions = int(self.task_spaces()[1].n)
            self.check_subnetworks([*layers, actions], self.train_batch_size_per_learner)

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        of_dqn = {"epsilon": self.epsilon, "double_q": self.double_q}
        told = {"omnet": {**self.told(), **of_dqn}}
        return {**super()._model_config_auto_includes, **told}

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=OMNetDQNModule)

    def get_default_learner_class(self) -> type[OMNetDQNLearner]:
        return OMNetDQNLearner
