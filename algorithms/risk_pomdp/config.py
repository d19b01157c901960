"""Config of risk-sensitive learning with hindsight observation."""

from typing import TYPE_CHECKING, Literal

from tenfold.algorithms.planning import PlanningConfig

if TYPE_CHECKING:
    from tenfold.envs.risk.pomdp import TabularPOMDP

LEARNERS = ("beta_vi", "oracle", "uniform")


class RiskPOMDPConfig(PlanningConfig):
    """A learner on a POMDP (arXiv:2402.18149; the POMDP is `AlgorithmConfig.env`).

    Attributes:
        gamma_risk: gamma of the entropic risk (1 / gamma) log E[e^{gamma R}] of the return R: below
            0 averse, above 0 seeking. Regret is measured with it.
        planning_gamma: gamma that the learner plans with; `gamma_risk` when None. 1e-6 is the
            risk-neutral learner.
        learner: ``beta_vi``, or ``oracle`` (knows the model) or ``uniform`` (a random policy an
            episode).
        bonus_scale: Factor of the theory's bonus; 0 is greedy.
        delta: Probability with which the confidence may fail.
        episodes: K, the episodes of a run.
        episodes_per_iteration: Episodes between two results.
        env_config: Fields of the POMDP that differ from its defaults (H, accuracy, ...).
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma_risk = -1.0
        self.planning_gamma: float | None = None
        self.learner: Literal["beta_vi", "oracle", "uniform"] = "beta_vi"
        self.bonus_scale = 1.0
        self.delta = 0.05
        self.episodes = 2_000
        self.episodes_per_iteration = 100

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        from tenfold.algorithms.risk_pomdp.beta import check_gamma

        super().validate()
        if self.learner not in LEARNERS:
            raise ValueError(
                f"Bad value '{self.learner}' for 'learner': choose one of {', '.join(LEARNERS)}."
            )
        for key in ("episodes", "episodes_per_iteration"):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"Bad value {value!r} for '{key}': give a whole number above 0.")
        if not 0.0 <= self.bonus_scale < float("inf"):
            raise ValueError(f"Bad value {self.bonus_scale} for 'bonus_scale': give 0 or more.")
        if not 0.0 < self.delta < 1.0:
            raise ValueError(f"Bad value {self.delta} for 'delta': give a number between 0 and 1.")
        if self.env is not None:
            H = self.pomdp().H
            check_gamma(self.gamma_risk, H, "gamma_risk")
            check_gamma(self.risk(), H, "planning_gamma")

    def pomdp(self) -> "TabularPOMDP":
        """The world: the POMDP of `env` with the fields that `env_config` changes.

        Raises:
            ValueError: No such POMDP or field, or values that make none.
        """
        from tenfold.envs.risk.pomdp_benchmarks import make_pomdp

        return make_pomdp(self.env, **self.env_config)

    def risk(self) -> float:
        """The gamma that the learner plans with."""
        return self.gamma_risk if self.planning_gamma is None else self.planning_gamma
