"""Config of OMNet on SAC, and of its peers in the same code."""

from typing import Annotated, Any, Literal

from gymnasium import spaces
from pydantic import Field
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from tenfold.algorithms.common.network_parameters import LearningRate
from tenfold.algorithms.omnet.algorithm import OMNet
from tenfold.algorithms.omnet.base_config import ActorCriticSubnetworkConfig, OffPolicyParameters
from tenfold.algorithms.omnet.learner import OMNetLearner
from tenfold.algorithms.omnet.module import OMNetModule
from tenfold.algorithms.omnet.settings import PolicyParameters
from tenfold.platform.parameters import parameter

# REDQ's and MBPO's target entropies (arXiv:2101.05982, appendix), by the beginning of a task's id.
TARGET_ENTROPIES = {
    "Hopper-": -1.0,
    "HalfCheetah-": -3.0,
    "Walker2d-": -3.0,
    "Ant-": -4.0,
    "Humanoid-": -2.0,
}


class OMNetConfig(ActorCriticSubnetworkConfig, SACConfig):
    """SAC with subnetworks in critic and policy.

    `OMNetConfig().environment("Hopper-v5").omnet(num_subnets=5, sparsity=0.5)` is set as any config
    of RLlib's. RLlib's `batch_mode` is another key, so OMNet's is `subnet_batch_mode`; its
    `start_steps` is RLlib's `num_steps_sampled_before_learning_starts`.
    """

    class Parameters(PolicyParameters, OffPolicyParameters):
        """OMNet on SAC; it has three learning rates in place of RLlib's `lr`."""

        policy_delay: int | None = parameter(
            None, "Gradient steps of the critic for one of the policy; utd_ratio when null", ge=1
        )
        actor_lr: LearningRate = parameter(3e-4, "Learning rate of the policy, or its schedule")
        critic_lr: LearningRate = parameter(3e-4, "Learning rate of Q, or its schedule")
        alpha_lr: LearningRate = parameter(3e-4, "Learning rate of alpha, or its schedule")
        initial_alpha: float = parameter(1.0, "Weight alpha of the entropy at first", gt=0, le=1e6)
        target_entropy: Annotated[float, Field(ge=-1e6, le=1e6)] | Literal["auto", "table"] = (
            parameter(
                "auto",
                "The entropy that alpha is adapted to: minus the number of actions when auto, "
                "REDQ's of the task when table",
            )
        )
        twin_q: Literal[False] = parameter(False, "num_critics says how many there are")

    actions = (spaces.Box,)
    bounded = True
    policy_outputs = 2  # mean and deviation

    def __init__(self) -> None:
        super().__init__(algo_class=OMNet)

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
        of_policy = {
            "policy_masks": vars(self.policy_masks()),
            "initial_alpha": self.initial_alpha,
        }
        told = {"omnet": {**self.told(), **of_policy}}
        return {**super()._model_config_auto_includes, **told}

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=OMNetModule)

    def get_default_learner_class(self) -> type[OMNetLearner]:
        return OMNetLearner
