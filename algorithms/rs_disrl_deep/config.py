"""Config of static risk with a quantile critic."""

from typing import TYPE_CHECKING, Any

from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from tenfold.algorithms.common.control_tasks import fields_of, register_collected_tasks
from tenfold.algorithms.common.quantile_critic import QuantileConfig
from tenfold.algorithms.common.static_risk import StaticRiskConfig, StaticRiskParameters
from tenfold.algorithms.rs_disrl_deep.algorithm import (
    RSDisRLDeep,
    StaticRiskLearner,
    StaticRiskModule,
)
from tenfold.envs.risk.collected import BUILDERS, CollectedReturn, make_collected
from tenfold.platform.parameters import Parameters as Model

if TYPE_CHECKING:
    from ray.rllib.core.learner.learner import Learner

register_collected_tasks()


class RSDisRLDeepConfig(StaticRiskConfig, QuantileConfig):
    """max rho(return) over policies that see the reward collected so far, by quantiles."""

    class Parameters(StaticRiskParameters, QuantileConfig.Parameters):
        """Static risk; the rest is in `QuantileConfig`."""

    def __init__(self) -> None:
        super().__init__(algo_class=RSDisRLDeep)

    @classmethod
    def own_task(cls, task: str) -> type[Model] | None:
        return fields_of(BUILDERS, task)

    @staticmethod
    def make_own(task: str, **fields: Any) -> CollectedReturn:
        return make_collected(task, **fields)

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=StaticRiskModule, model_config=self.model_config)

    def get_default_learner_class(self) -> type["Learner"]:
        return StaticRiskLearner
