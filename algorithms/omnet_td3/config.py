"""Config of OMNet on TD3: TD3's keys, and those of subnetworks."""

from typing import Any, Literal

from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from tenfold.algorithms.omnet.base_config import ActorCriticSubnetworkConfig, Layers
from tenfold.algorithms.omnet.settings import PolicyParameters
from tenfold.algorithms.omnet_td3.algorithm import OMNetTD3
from tenfold.algorithms.omnet_td3.learner import OMNetTD3Learner
from tenfold.algorithms.omnet_td3.module import OMNetTD3Module
from tenfold.algorithms.td3.config import TD3Config
from tenfold.platform.parameters import parameter


class OMNetTD3Config(ActorCriticSubnetworkConfig, TD3Config):
    """TD3 with subnetworks in critic and policy.

        y = r + gamma (1 - terminated) min_{k in U} Q'_k(s', a'),   U of m members at random,
        a' = clip(pi'_j(s') + clip(noise))

    All members learn y; the policy ascends the mean of their values. Its J subnetworks share the
    rows of a batch.
    """

    class Parameters(PolicyParameters, TD3Config.Parameters):
        """OMNet on TD3."""

        utd_ratio: int = parameter(
            5, "Gradient steps of the critic for each collected step", ge=1, le=10_000
        )
        network: Layers = parameter(
            {"fcnet_hiddens": [256, 256], "fcnet_activation": "relu"},
            "Layers of the networks",
            alias="model_config",
        )
        num_steps_sampled_before_learning_starts: int = parameter(
            1_000, "Steps of uniformly random actions before the first update", ge=0, le=10**9
        )
        twin_q: Literal[False] = parameter(False, "num_critics says how many there are")
        ucb_coef: Literal[0] = parameter(0, "No choice by the critic")
        value_bias_episodes: int = parameter(
            10, "Episodes of an evaluation that the critic's bias is measured on", ge=0, le=10_000
        )
        evaluation_interval: int | None = parameter(
            1, "Iterations between two evaluations; none when null", ge=1, le=10**9
        )
        evaluation_duration: int = parameter(10, "Episodes of an evaluation", ge=1, le=10**6)

    policy_outputs = 1

    def __init__(self) -> None:
        super().__init__(algo_class=OMNetTD3)

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        told = {**self.told(), "policy_masks": vars(self.policy_masks())}
        return {**super()._model_config_auto_includes, "omnet": told}

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=OMNetTD3Module)

    def get_default_learner_class(self) -> type[OMNetTD3Learner]:
        return OMNetTD3Learner
