"""Config of risk-sensitive learning with hindsight observation."""

from pathlib import Path
from typing import Literal

from tenfold.algorithms.common.replanning import ReplanningConfig
from tenfold.algorithms.risk_pomdp.beta import check_gamma
from tenfold.envs.risk.discount import discounted_pomdp
from tenfold.envs.risk.names import POMDP_ENDINGS
from tenfold.envs.risk.pomdp import TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import BUILDERS, make_pomdp
from tenfold.envs.risk.pomdp_tasks import pomdp_of_file
from tenfold.platform.parameters import Parameters as TaskParameters
from tenfold.platform.parameters import parameter, parameters_of


class RiskPOMDPConfig(ReplanningConfig):
    """A learner on a POMDP (arXiv:2402.18149; the POMDP is `AlgorithmConfig.env`)."""

    class Parameters(ReplanningConfig.Parameters):
        """Learning with hindsight and baselines; the rest is in `ReplanningConfig`."""

        learner: Literal["beta_vi", "baum_welch", "oracle", "uniform"] = parameter(
            "beta_vi", "The method, or without hindsight, knowing the model, a random policy"
        )
        bonus_scale: float = parameter(
            0.01, "Factor of the theory's bonus or radius; 0 is greedy", ge=0, le=1e6
        )
        confidence: Literal["variation", "likelihood"] = parameter(
            "variation",
            "Widths of the bonus: the theory's, by total variation, or those of the likelihood, "
            "valid at bonus_scale 1, too, and far smaller where outcomes are nearly certain",
        )
        gamma_risk: float = parameter(
            -1.0,
            "gamma of the entropic risk (1 / gamma) log E[e^{gamma R}] of the return R, which "
            "regret is measured with: below 0 averse, above 0 seeking",
        )
        planning_gamma: float | None = parameter(
            None, "gamma that the learner plans with, gamma_risk when null; 1e-6 is risk-neutral"
        )
        planner: Literal["exact", "point_based"] = parameter(
            "exact",
            "exact over all histories, or point_based (beliefs and bounds) for horizons whose "
            "histories cannot be enumerated; then the optimum is the upper bound",
        )
        planner_gap: float = parameter(
            1e-3, "Difference of the bounds at which a search of point_based ends", gt=0
        )
        planner_trials: int = parameter(
            100, "Most walks of a search of point_based", ge=1, le=10**6
        )

        judged_alpha: float | None = parameter(
            None,
            "Share of the worst returns whose exact mean an evaluation gives as return_cvar; null: "
            "none, for rewards of many values make too many returns",
            gt=0,
            le=1,
        )

    @classmethod
    def task_parameters(cls, task: str) -> type[TaskParameters] | None:
        """Arguments of the POMDP's builder, or of the reader of the user's file."""
        if Path(task).suffix in POMDP_ENDINGS:
            return parameters_of(pomdp_of_file, leave_out=["path", "discount"])
        return parameters_of(BUILDERS[task]) if task in BUILDERS else None

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        super().validate()
        if self.confidence == "likelihood" and self.learner == "baum_welch":
            raise ValueError(
                "Bad value 'likelihood' for 'confidence': without hindsight there are no counts "
                "that it could hold for, so give variation."
            )
        if self.check_confidence and self.learner != "beta_vi":
            raise ValueError(
                f"check_confidence is about the bonus of beta_vi, and 'learner' is "
                f"'{self.learner}': leave it out or give beta_vi."
            )
        if self.env is not None:
            pomdp = self.true_model()
            if self.planner == "exact" or self.learner == "baum_welch":
                pomdp.check_histories()
            H = pomdp.H
            check_gamma(self.gamma_risk, H, "gamma_risk")
            check_gamma(self.risk(), H, "planning_gamma")

    def true_model(self) -> TabularPOMDP:
        if Path(self.env).suffix in POMDP_ENDINGS:
            return pomdp_of_file(self.env, **self.env_config, discount=self.discount)
        return discounted_pomdp(make_pomdp(self.env, **self.env_config), self.discount)

    def risk(self) -> float:
        """The gamma that the learner plans with."""
        return self.gamma_risk if self.planning_gamma is None else self.planning_gamma
