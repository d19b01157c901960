"""Config of risk-sensitive learning with hindsight observation."""

from typing import TYPE_CHECKING, ClassVar

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

    The learners are ``beta_vi``, or ``oracle`` (knows the model) or ``uniform`` (a random policy an
    episode). Everything else: `RegretConfig`.
    """

    choices: ClassVar = {"learner": ("beta_vi", "oracle", "uniform")}

    def __init__(self) -> None:
        super().__init__()
        self.gamma_risk = -1.0
        self.planning_gamma: float | None = None

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        from tenfold.algorithms.risk_pomdp.beta import check_gamma

        super().validate()
        if self.env is not None:
            H = self.world().H
            check_gamma(self.gamma_risk, H, "gamma_risk")
            check_gamma(self.risk(), H, "planning_gamma")

    def world(self) -> "TabularPOMDP":
        from tenfold.envs.risk.pomdp_benchmarks import make_pomdp

        return make_pomdp(self.env, **self.env_config)

    def risk(self) -> float:
        """The gamma that the learner plans with."""
        return self.gamma_risk if self.planning_gamma is None else self.planning_gamma
