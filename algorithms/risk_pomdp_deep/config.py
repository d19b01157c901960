"""Config of PPO on entropic risk under partial observation."""

import math
from typing import TYPE_CHECKING

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.tune.registry import register_env

from tenfold.algorithms.common.control_tasks import fields_of
from tenfold.algorithms.common.network_parameters import Coefficient, LearningRate, PPOParameters
from tenfold.algorithms.common.typed_config import TypedConfig
from tenfold.algorithms.risk_pomdp.beta import check_gamma
from tenfold.algorithms.risk_pomdp_deep.algorithm import (
    HindsightConnector,
    RiskPOMDPDeep,
    RiskPOMDPLearner,
)
from tenfold.algorithms.risk_pomdp_deep.module import BeliefModule
from tenfold.envs.risk.hindsight import make_history
from tenfold.envs.risk.names import HINDSIGHT_NAMES
from tenfold.envs.risk.pomdp import TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import BUILDERS
from tenfold.platform.parameters import Parameters as Model
from tenfold.platform.parameters import parameter
from tenfold.platform.rllib_keys import Network

if TYPE_CHECKING:
    from ray.rllib.core.learner.learner import Learner

for _name in HINDSIGHT_NAMES:
    register_env(_name, lambda env_config, name=_name: make_history(name, **env_config))


class RiskPOMDPDeepConfig(TypedConfig, PPOConfig):
    """Entropic risk (1 / gamma) log E[e^{gamma R}] by PPO on histories.

    The utility is paid at the end of an episode, so there is no discount and advantages are those
    of whole episodes (gamma = lambda = 1). A batch holds whole episodes because fragments are a
    multiple of their length: RLlib's `complete_episodes` would reset the environments with the same
    seed for every fragment and so repeat their chances.
    """

    class Parameters(PPOParameters):
        """Entropic risk with hindsight; the rest is in `PPOParameters`."""

        gamma_risk: float = parameter(
            -3.0, "gamma of the entropic risk: below 0 averse, above 0 seeking, 0 risk-neutral"
        )
        hindsight_coeff: float = parameter(
            0.5, "Weight of the hindsight head's cross entropy; 0 leaves it untrained", ge=0, le=1e6
        )
        gamma: float = parameter(1.0, "Discount of a step", ge=0, le=1)
        lr: LearningRate = parameter(1e-3, "Learning rate of Adam, or its schedule")
        entropy_coeff: Coefficient = parameter(0.003, "Weight of the entropy, or its schedule")
        minibatch_size: int | None = parameter(
            256, "Steps of a gradient step; the whole batch when null", ge=1, le=10**9
        )
        vf_clip_param: float = parameter(
            float("inf"), "Largest loss of a value; .inf for none", gt=0, allow_inf_nan=True
        )
        train_batch_size_per_learner: int = parameter(
            2_000, "Steps of a training batch, for each learner", ge=1, le=10**9
        )
        network: Network = parameter(
            {"fcnet_hiddens": [64], "fcnet_activation": "tanh"},
            "Layers of the network",
            alias="model_config",
        )

    def __init__(self) -> None:
        super().__init__(algo_class=RiskPOMDPDeep)

    @classmethod
    def task_parameters(cls, task: str) -> type[Model] | None:
        """Arguments of the POMDP's builder."""
        return fields_of(BUILDERS, task.replace("hindsight/", "pomdp/"))

    def validate(self) -> None:
        """Refuse what cannot run.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        self.check_parameters()
        if self.gamma_risk != 0.0 and self.env is not None:
            check_gamma(self.gamma_risk, self.true_model().H, "gamma_risk")
        super().validate()

    def true_model(self) -> TabularPOMDP:
        """The POMDP of `env` with the fields that `env_config` changes."""
        pomdp: TabularPOMDP = make_history(self.env, **self.env_config).unwrapped.pomdp
        return pomdp

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Steps of one environment a batch: whole episodes, at least the batch size in all."""
        H = self.true_model().H
        environments = max(1, self.num_env_runners) * self.num_envs_per_env_runner
        return H * math.ceil(self.total_train_batch_size / (environments * H))

    def build_learner_connector(self, *args: object, **kwargs: object) -> object:
        """RLlib's pipeline, with ours before the critic's part."""
        pipeline = super().build_learner_connector(*args, **kwargs)
        pipeline.prepend(HindsightConnector(gamma=self.gamma_risk))
        return pipeline

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(
            module_class=BeliefModule,
            model_config={**self.model_config, "hidden_states": self.true_model().S},
        )

    def get_default_learner_class(self) -> type["Learner"]:
        return RiskPOMDPLearner
