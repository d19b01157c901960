"""Config of iterated CVaR with a quantile critic."""

from typing import TYPE_CHECKING

from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from tenfold.algorithms.common.control_tasks import fields_of, register_control_tasks
from tenfold.algorithms.common.greedy_evaluation import EVALUATION_CONFIG, GreedyEvaluation
from tenfold.algorithms.common.quantile_critic import QuantileConfig
from tenfold.algorithms.icvar_deep.algorithm import ICVaRDeep, ICVaRLearner, ICVaRModule
from tenfold.envs.risk.control import BUILDERS
from tenfold.platform.parameters import Parameters as Model
from tenfold.platform.parameters import parameter

if TYPE_CHECKING:
    from ray.rllib.core.learner.learner import Learner

register_control_tasks()


class ICVaRDeepConfig(QuantileConfig):
    """Q(s, a) = CVaR_alpha(r + gamma max_a' Q(s', a')) by quantile regression."""

    class Parameters(GreedyEvaluation, QuantileConfig.Parameters):
        """Iterated CVaR; the rest is in `QuantileConfig`."""

        alpha: float = parameter(0.25, "Risk level; 1 is risk-neutral", ge=1e-6, le=1)
        anneal_steps: int = parameter(
            0,
            "Steps in which the level falls linearly from 1 to alpha: the task first, then caution",
            unit="env steps",
            ge=0,
            le=10**12,
        )
        judged_alpha: float | None = parameter(
            None, "Risk level that evaluations give; alpha when null", ge=1e-6, le=1
        )

    def __init__(self) -> None:
        super().__init__(algo_class=ICVaRDeep)
        self.evaluation_config = dict(EVALUATION_CONFIG)

    @classmethod
    def own_task(cls, task: str) -> type[Model] | None:
        return fields_of(BUILDERS, task)

    def level(self, steps: int) -> float:
        """The risk level after some environment steps."""
        if steps >= self.anneal_steps:
            return self.alpha
        return 1.0 + (self.alpha - 1.0) * steps / self.anneal_steps

    def alpha_of_evaluations(self) -> float:
        """The risk level that an evaluation gives."""
        return self.alpha if self.judged_alpha is None else self.judged_alpha

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=ICVaRModule, model_config=self.model_config)

    def get_default_learner_class(self) -> type["Learner"]:
        return ICVaRLearner
