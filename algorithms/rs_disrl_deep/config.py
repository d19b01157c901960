"""Config of static risk with a quantile critic."""

from typing import TYPE_CHECKING, Any

import numpy as np
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from tenfold.algorithms.common.control_tasks import fields_of, register_collected_tasks
from tenfold.algorithms.common.quantile_critic import QuantileConfig
from tenfold.algorithms.rs_disrl_deep.algorithm import (
    RSDisRLDeep,
    StaticRiskLearner,
    StaticRiskModule,
)
from tenfold.envs.risk.collected import BUILDERS, CollectedReturn, make_collected, make_limited
from tenfold.envs.risk.measures import RiskMeasure
from tenfold.envs.risk.static_measures import make_measure
from tenfold.platform.parameters import Parameters as Model
from tenfold.platform.parameters import parameter

if TYPE_CHECKING:
    from ray.rllib.core.learner.learner import Learner

# Shifts besides none that are looked at.
CANDIDATES = 10

register_collected_tasks()


class RSDisRLDeepConfig(QuantileConfig):
    """max rho(return) over policies that see the reward collected so far, by quantile regression.

    A Gymnasium environment is played with the share of its time that is gone and the reward
    collected so far in the observation, and ends for good at its limit of steps.
    """

    class Parameters(QuantileConfig.Parameters):
        """Static risk; the rest is in `QuantileConfig`."""

        rho: str = parameter(
            "cvar",
            "Risk measure of the return, a name of envs/risk/static_measures.py, or a function as "
            "package.module:function",
        )
        rho_parameters: dict[str, Any] = parameter(
            {"alpha": 0.25}, "Parameters of the risk measure, all of them"
        )
        first_states: int = parameter(
            16, "First observations that the return distribution is averaged over", ge=1, le=100_000
        )
        return_scale: float = parameter(
            1.0,
            "Rewards that are 1 in what the network sees and gives, and in kappa; about the size "
            "of a return",
            gt=0,
            le=1e12,
        )
        shift_span: float = parameter(
            0.5,
            "Largest shift, in training, of the reward collected so far, some share of a return's "
            "spread; 0 shifts nothing",
            ge=0,
            le=1e12,
        )
        judged_episodes: int = parameter(
            1_000, "Greedy episodes of an evaluation", ge=2, le=100_000
        )

    def __init__(self) -> None:
        super().__init__(algo_class=RSDisRLDeep)

    @classmethod
    def own_task(cls, task: str) -> type[Model] | None:
        return fields_of(BUILDERS, task)

    @staticmethod
    def make_gymnasium(task: str, **fields: Any) -> CollectedReturn:
        return make_limited(task, **fields)

    def validate(self) -> None:
        """Refuse what cannot run.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        super().validate()
        self.measure()
        if self.gamma != 1.0:
            raise ValueError(
                f"Bad value {self.gamma} for 'gamma': the risk is that of the undiscounted "
                "return, so give 1."
            )
        if self.env is not None:
            self.make_task()

    def make_task(self) -> CollectedReturn:
        """The task of `env` with the fields that `env_config` changes.

        Raises:
            ValueError: No such task, or fields that together do not make an environment.
        """
        make = make_collected if self.env in BUILDERS else make_limited
        return make(self.env, **self.env_config)

    def measure(self) -> RiskMeasure:
        """The risk measure.

        Raises:
            ValueError: No such measure, or parameters that it does not take.
        """
        return make_measure(self.rho, self.rho_parameters)

    def candidate_shifts(self) -> np.ndarray:
        """Shifts of y that a policy may be greedy for, none first, (J,) in reward units."""
        others = self.shift_span * np.linspace(-1.0, 1.0, CANDIDATES)
        return np.concatenate([[0.0], others]) if self.shift_span else np.zeros(1)

    def first_observations(self) -> np.ndarray:
        """What episodes show first, (first_states, n) float32."""
        env = self.make_task()
        return np.array([env.reset(seed=seed)[0] for seed in range(self.first_states)])

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        ours = {"return_scale": self.return_scale, "shift_span": self.shift_span}
        return {**super()._model_config_auto_includes, **ours}

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=StaticRiskModule, model_config=self.model_config)

    def get_default_learner_class(self) -> type["Learner"]:
        return StaticRiskLearner
