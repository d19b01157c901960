"""Config of iterated CVaR with a quantile critic."""

from typing import TYPE_CHECKING

from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from tenfold.algorithms.control_tasks import register_control_tasks
from tenfold.algorithms.icvar_deep.algorithm import ICVaRDeep, ICVaRLearner, ICVaRModule
from tenfold.algorithms.quantile_critic import QuantileConfig
from tenfold.envs.risk.measures import check_alpha

if TYPE_CHECKING:
    from ray.rllib.core.learner.learner import Learner

register_control_tasks()


class ICVaRDeepConfig(QuantileConfig):
    """Q(s, a) = CVaR_alpha(r + gamma max_a' Q(s', a')) by quantile regression.

    Attributes:
        alpha: Risk level in (0, 1], or a schedule [[env step, level], ...] that is linear between
            its points, such as [[0, 1.0], [8000, 0.25]]: learn the task first, then caution.
        double_q: The online network chooses the next action, the target network says its worth.

    Everything else: `QuantileConfig`, and RLlib's `DQNConfig`.
    """

    def __init__(self) -> None:
        super().__init__(algo_class=ICVaRDeep)
        self.alpha: float | list[list[float]] = 0.25

    def validate(self) -> None:
        """Refuse what cannot run.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        super().validate()
        if isinstance(self.alpha, int | float):
            check_alpha(self.alpha)
        else:
            steps = [point[0] for point in self.alpha]
            if steps[:1] != [0] or len(steps) < 2 or steps != sorted(set(steps)):
                raise ValueError(
                    f"Bad value {self.alpha} for 'alpha': a schedule is a list of at least two "
                    "pairs [env step, level] with growing steps, the first at step 0."
                )
            for _, level in self.alpha:
                check_alpha(level)

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=ICVaRModule, model_config=self.model_config)

    def get_default_learner_class(self) -> type["Learner"]:
        return ICVaRLearner
