"""Every symbol of the method with its default."""

from typing import Annotated, Any, Literal

from pydantic import Field
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.control_tasks import fields_of, register_continuous_tasks
from tenfold.algorithms.common.network_parameters import LearningRate, NetworkParameters
from tenfold.algorithms.common.off_policy_config import ReplayLoopConfig, UniformBuffer
from tenfold.algorithms.common.static_risk import StaticRiskConfig, StaticRiskParameters
from tenfold.algorithms.rs_disrl_sac.algorithm import RSDisRLSAC
from tenfold.algorithms.rs_disrl_sac.learner import RiskActorCriticLearner
from tenfold.algorithms.rs_disrl_sac.module import QuantileCriticCatalog, RiskActorCritic
from tenfold.envs.risk.collected import CollectedReturn
from tenfold.envs.risk.continuous import BUILDERS, make_continuous
from tenfold.platform.parameters import Parameters as Model
from tenfold.platform.parameters import parameter
from tenfold.platform.rllib_keys import Network

register_continuous_tasks()


class RSDisRLSACConfig(StaticRiskConfig, ReplayLoopConfig):
    """max rho(return) with continuous actions, by quantile critics and a squashed Gaussian.

    An iteration ends by `min_sample_timesteps_per_iteration` alone, so that equal seeds give equal
    iterations.
    """

    class Parameters(StaticRiskParameters, NetworkParameters):
        """Static risk with an actor; it has three learning rates in place of RLlib's `lr`."""

        num_quantiles: int = parameter(32, "Quantiles of a critic", ge=2, le=10_000)
        num_critics: int = parameter(
            2, "Critics, of which the least U counts; 1 hopes more", ge=1, le=100
        )
        kappa: float = parameter(
            0.01,
            "Where the quantile Huber loss becomes linear, in units of return_scale; 0 is the "
            "pinball loss",
            ge=0,
            le=1e6,
        )
        actor_lr: LearningRate = parameter(1e-3, "Learning rate of the policy, or its schedule")
        critic_lr: LearningRate = parameter(1e-3, "Learning rate of the critics, or its schedule")
        alpha_lr: LearningRate = parameter(1e-3, "Learning rate of alpha, or its schedule")
        initial_alpha: float = parameter(
            0.1, "Weight alpha of the entropy at first, in units of return_scale", gt=0, le=1e6
        )
        target_entropy: Annotated[float, Field(ge=-1e6, le=1e6)] | Literal["auto"] = parameter(
            "auto", "The entropy that alpha is adapted to; minus the number of actions when auto"
        )
        network: Network = parameter(
            {"fcnet_hiddens": [128, 128], "fcnet_activation": "relu"},
            "Layers of the networks",
            alias="model_config",
        )
        gamma: float = parameter(1.0, "Discount of a step", ge=0, le=1)
        tau: float = parameter(
            0.01, "Share of the critics that their targets take over", gt=0, le=1
        )
        train_batch_size_per_learner: int = parameter(
            128, "Steps of a training batch, for each learner", ge=1, le=10**9
        )
        utd_ratio: float = parameter(
            1.0,
            "Gradient steps for each collected step; rounded for a round of all environments, but "
            "at least one",
            gt=0,
            le=10_000,
        )
        num_envs_per_env_runner: int = parameter(
            8, "Environments that a runner steps through together", ge=1, le=10_000
        )
        num_steps_sampled_before_learning_starts: int = parameter(
            1_000, "Steps of uniformly random actions before the first update", ge=0, le=10**9
        )
        min_sample_timesteps_per_iteration: int = parameter(
            1_000, "Fewest steps between two results", unit="env steps", ge=0, le=10**12
        )
        judged_episodes: int = parameter(200, "Greedy episodes of an evaluation", ge=2, le=100_000)
        replay_buffer_config: UniformBuffer = parameter(
            {"type": "EpisodeReplayBuffer", "capacity": 1_000_000}, "The replay buffer"
        )
        store_buffer_in_checkpoints: bool = parameter(False, "Save the buffer in checkpoints too")

    def __init__(self) -> None:
        super().__init__(algo_class=RSDisRLSAC)

    @classmethod
    def own_task(cls, task: str) -> type[Model] | None:
        return fields_of(BUILDERS, task)

    @staticmethod
    def make_own(task: str, **fields: Any) -> CollectedReturn:
        return make_continuous(task, **fields)

    def entropy_target(self, actions: int) -> float:
        """The entropy that alpha is adapted to, for so many numbers of an action."""
        return -float(actions) if self.target_entropy == "auto" else float(self.target_entropy)

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=RiskActorCritic, catalog_class=QuantileCriticCatalog)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[RiskActorCriticLearner]:
        return RiskActorCriticLearner

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        """What the module reads beside its layers."""
        told = {key: vars(self)[key] for key in ("num_quantiles", "num_critics", "initial_alpha")}
        told["random_steps"] = self.num_steps_sampled_before_learning_starts
        return super()._model_config_auto_includes | told
