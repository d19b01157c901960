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
            of `envs/risk/static_measures.py`, or a function as ``package.module:function``.
        rho_parameters: Its parameters, all of them.
        family: RS-DisRL-M (`model`), or RS-DisRL-V with the tabular class (`value`) or with one
            that is linear in features of y (`linear`).
        estimator: Confidence sets by least squares (`lsr`) or by likelihood (`mle`; not `linear`).
        value_knots: Features of the linear class for each state and action: hat functions of y.
        replan_share: A plan is made anew once the episodes have grown by this share since the last
            one; 0 plans before every episode.
        judged_episodes: Episodes that an evaluation estimates rho from, besides the exact value.

    The learners are RS-DisRL and baselines; `risk_neutral` is RS-DisRL planning for the mean.
    Everything else: `RegretConfig`.
    """

    choices: ClassVar = {
        "learner": ("rs_disrl", "risk_neutral", "keramati", "iterated", "oracle", "uniform"),
        "family": ("model", "value", "linear"),
        "estimator": ("lsr", "mle"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.rho = "cvar"
        self.rho_parameters: dict[str, Any] = {"alpha": 0.25}
        self.family: Literal["model", "value", "linear"] = "model"
        self.estimator: Literal["lsr", "mle"] = "lsr"
        self.value_knots = 5
        self.replan_share = 0.02
        self.judged_episodes = 1_000

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        super().validate()
        if not self.replan_share >= 0.0:
            raise ValueError(f"Bad value {self.replan_share} for 'replan_share': give 0 or more.")
        self.check_counts("value_knots", "judged_episodes")
        if self.family == "linear" and self.estimator == "mle":
            raise ValueError(
                "Bad value 'mle' for 'estimator': the linear family is fitted by least squares, so "
                "give lsr."
            )
        self.measure()
        if self.env is not None:
            points = self.world().Y
            if self.family == "linear":
                from tenfold.algorithms.rs_disrl.linear import hats

                hats(points, self.value_knots)

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
