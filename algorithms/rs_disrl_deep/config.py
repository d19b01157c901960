"""Config of static risk with a quantile critic."""

from typing import TYPE_CHECKING, Any

import numpy as np
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from tenfold.algorithms.control_tasks import register_collected_tasks
from tenfold.algorithms.quantile_critic import QuantileConfig
from tenfold.algorithms.rs_disrl_deep.algorithm import (
    RSDisRLDeep,
    StaticRiskLearner,
    StaticRiskModule,
)
from tenfold.envs.risk.collected import CollectedReturn, make_collected
from tenfold.envs.risk.measures import RiskMeasure
from tenfold.envs.risk.static_measures import make_measure

if TYPE_CHECKING:
    from ray.rllib.core.learner.learner import Learner

# Shifts besides none that are looked at.
CANDIDATES = 10

register_collected_tasks()


class RSDisRLDeepConfig(QuantileConfig):
    """max rho(return) over policies that see the reward collected so far, by quantile regression.

    Attributes:
        rho: Risk measure of the return, a name of `envs/risk/static_measures.py`.
        rho_parameters: Its parameters, all of them.
        first_states: Observations after a reset that the law of the return is averaged over.
        return_scale: Reward units that are 1 in what the network sees and gives; `kappa` is in
            these units too.
        shift_span: Largest shift of y in training, and of the utility that F is the best for, in
            reward units; 0 shifts nothing.
        judged_episodes: Greedy episodes of an evaluation.
        double_q: The online network chooses the next action, the target network says its law.
        gamma: 1, since risk is that of the undiscounted return.

    Everything else: `QuantileConfig`, and RLlib's `DQNConfig`.
    """

    def __init__(self) -> None:
        super().__init__(algo_class=RSDisRLDeep)
        self.rho = "cvar"
        self.rho_parameters: dict[str, Any] = {"alpha": 0.25}
        self.first_states = 16
        self.return_scale = 1.0
        self.shift_span = 0.5
        self.judged_episodes = 1_000

    def validate(self) -> None:
        """Refuse what cannot run.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        super().validate()
        self.measure()
        for key, least in (("first_states", 1), ("judged_episodes", 2)):
            value = getattr(self, key)
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"Bad value {value!r} for '{key}': give a whole number of at least {least}."
                )
        if not 0.0 < self.return_scale < np.inf:
            raise ValueError(
                f"Bad value {self.return_scale} for 'return_scale': give a number above 0."
            )
        if not 0.0 <= self.shift_span < np.inf:
            raise ValueError(f"Bad value {self.shift_span} for 'shift_span': give 0 or more.")
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
            ValueError: No such task or field, or a value out of range.
        """
        return make_collected(self.env, **self.env_config)

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
