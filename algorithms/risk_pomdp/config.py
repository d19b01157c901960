"""Config of risk-sensitive learning with hindsight observation."""

from typing import TYPE_CHECKING, ClassVar, Literal

from tenfold.algorithms.regret import RegretConfig

if TYPE_CHECKING:
    from tenfold.envs.risk.pomdp import TabularPOMDP


class RiskPOMDPConfig(RegretConfig):
    """A learner on a POMDP (arXiv:2402.18149; the POMDP is `AlgorithmConfig.env`).

    Attributes:
        gamma_risk: gamma of the entropic risk (1 / gamma) log E[e^{gamma R}] of the return R: below
            0 averse, above 0 seeking. Regret is measured with it.
        planning_gamma: gamma that the learner plans with; `gamma_risk` when None. 1e-6 is the
            risk-neutral learner.
        planner: ``exact`` over all histories, or ``point_based``: beliefs and bounds, for horizons
            whose histories cannot be enumerated. The latter plans, and measures the optimum, to
            `planner_gap` at best; regret then is against the upper bound.
        planner_gap: Difference of the bounds at which a search ends.
        planner_trials: Most walks of a search.

    The learners are ``beta_vi``, or ``baum_welch`` (no hindsight), ``oracle`` (knows the model) or
    ``uniform`` (a random policy an episode). Everything else: `RegretConfig`.
    """

    choices: ClassVar = {
        "learner": ("beta_vi", "baum_welch", "oracle", "uniform"),
        "planner": ("exact", "point_based"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.gamma_risk = -1.0
        self.planning_gamma: float | None = None
        self.planner: Literal["exact", "point_based"] = "exact"
        self.planner_gap = 1e-3
        self.planner_trials = 100

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        from tenfold.algorithms.risk_pomdp.beta import check_gamma

        super().validate()
        self.check_counts("planner_trials")
        if not 0.0 < self.planner_gap < float("inf"):
            raise ValueError(f"Bad value {self.planner_gap} for 'planner_gap': give more than 0.")
        if self.env is not None:
            world = self.world()
            if self.planner == "exact" or self.learner == "baum_welch":
                world.check_histories()
            H = world.H
            check_gamma(self.gamma_risk, H, "gamma_risk")
            check_gamma(self.risk(), H, "planning_gamma")

    def world(self) -> "TabularPOMDP":
        from tenfold.envs.risk.pomdp_benchmarks import make_pomdp

        return make_pomdp(self.env, **self.env_config)

    def risk(self) -> float:
        """The gamma that the learner plans with."""
        return self.gamma_risk if self.planning_gamma is None else self.planning_gamma
