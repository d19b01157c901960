"""Config of risk-sensitive distributional RL."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tenfold.algorithms.regret import RegretConfig

if TYPE_CHECKING:
    from tenfold.envs.risk.measures import RiskMeasure
    from tenfold.envs.risk.returns import GridMDP


class RSDisRLConfig(RegretConfig):
    """A learner on a task (arXiv:2402.18159; the task is `AlgorithmConfig.env`).

    Attributes:
        rho: Risk measure of the return that is maximised and that regret is measured with, a name
            of `envs/risk/static_measures.py`.
        rho_parameters: Its parameters, all of them.
        family: RS-DisRL-M (`model`) or RS-DisRL-V (`value`).
        estimator: Confidence sets by least squares (`lsr`) or by likelihood (`mle`).
        replan_share: A plan is made anew once the episodes have grown by this share since the last
            one; 0 plans before every episode.

    The learners are RS-DisRL and baselines; `risk_neutral` is RS-DisRL planning for the mean.
    Everything else: `RegretConfig`.
    """

    choices: ClassVar = {
        "learner": ("rs_disrl", "risk_neutral", "keramati", "iterated", "oracle", "uniform"),
        "family": ("model", "value"),
        "estimator": ("lsr", "mle"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.rho = "cvar"
        self.rho_parameters: dict[str, Any] = {"alpha": 0.25}
        self.family: Literal["model", "value"] = "model"
        self.estimator: Literal["lsr", "mle"] = "lsr"
        self.replan_share = 0.02

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        super().validate()
        if not self.replan_share >= 0.0:
            raise ValueError(f"Bad value {self.replan_share} for 'replan_share': give 0 or more.")
        self.measure()
        if self.env is not None:
            self.world()

    def measure(self) -> "RiskMeasure":
        """The risk measure.

        Raises:
            ValueError: No such measure, or parameters that it does not take.
        """
        from tenfold.envs.risk.static_measures import make_measure

        return make_measure(self.rho, self.rho_parameters)

    def world(self) -> "GridMDP":
        from tenfold.envs.risk.static_benchmarks import make_static_task

        return make_static_task(self.env, **self.env_config)
