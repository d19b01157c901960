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
        alpha: Risk level in (0, 1]; 1 is risk-neutral.
        anneal_steps: Environment steps over which the level falls linearly from 1 to `alpha`: learn
            the task first, then caution. 0 starts with `alpha`.
        double_q: The online network chooses the next action, the target network says its worth.

    Everything else: `QuantileConfig`, and RLlib's `DQNConfig`.
    """

    def __init__(self) -> None:
        super().__init__(algo_class=ICVaRDeep)
        self.alpha = 0.25
        self.anneal_steps = 0

    def validate(self) -> None:
        """Refuse what cannot run.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        super().validate()
        check_alpha(self.alpha)
        if not isinstance(self.anneal_steps, int) or self.anneal_steps < 0:
            raise ValueError(
                f"Bad value {self.anneal_steps!r} for 'anneal_steps': give a whole number of steps."
            )

    def level(self, steps: int) -> float:
        """The risk level after some environment steps."""
        if steps >= self.anneal_steps:
            return self.alpha
        return 1.0 + (self.alpha - 1.0) * steps / self.anneal_steps

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=ICVaRModule, model_config=self.model_config)

    def get_default_learner_class(self) -> type["Learner"]:
        return ICVaRLearner
