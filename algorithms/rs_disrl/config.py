"""Config of risk-sensitive distributional RL."""

from typing import TYPE_CHECKING, Any, Literal

from tenfold.algorithms.planning import PlanningConfig

if TYPE_CHECKING:
    from tenfold.envs.risk.measures import RiskMeasure
    from tenfold.envs.risk.returns import GridMDP

CHOICES = {
    "learner": ("rs_disrl", "risk_neutral", "keramati", "iterated", "oracle", "uniform"),
    "family": ("model", "value"),
    "estimator": ("lsr", "mle"),
}


class RSDisRLConfig(PlanningConfig):
    """A learner on a task (arXiv:2402.18159; the task is `AlgorithmConfig.env`).

    Attributes:
        rho: Risk measure of the return that is maximised and that regret is measured with, a name
            of `envs/risk/static_measures.py`.
        rho_parameters: Its parameters, all of them.
        learner: RS-DisRL or a baseline; `risk_neutral` is RS-DisRL planning for the mean.
        family: RS-DisRL-M (`model`) or RS-DisRL-V (`value`).
        estimator: Confidence sets by least squares (`lsr`) or by likelihood (`mle`).
        bonus_scale: Factor of the theory's radius; 0 is greedy.
        delta: Probability with which a confidence set may miss the truth.
        episodes: K, the episodes of a run; the radius depends on it.
        replan_share: A plan is made anew once the episodes have grown by this share since the last
            one; 0 plans before every episode.
        episodes_per_iteration: Episodes between two results.
        env_config: Fields of the task that differ from its defaults (H, ...).
    """

    def __init__(self) -> None:
        super().__init__()
        self.rho = "cvar"
        self.rho_parameters: dict[str, Any] = {"alpha": 0.25}
        self.learner: Literal[
            "rs_disrl", "risk_neutral", "keramati", "iterated", "oracle", "uniform"
        ] = "rs_disrl"
        self.family: Literal["model", "value"] = "model"
        self.estimator: Literal["lsr", "mle"] = "lsr"
        self.bonus_scale = 1.0
        self.delta = 0.05
        self.episodes = 2_000
        self.replan_share = 0.02
        self.episodes_per_iteration = 100

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        super().validate()
        for key, choices in CHOICES.items():
            if getattr(self, key) not in choices:
                raise ValueError(
                    f"Bad value '{getattr(self, key)}' for '{key}': choose one of "
                    f"{', '.join(choices)}."
                )
        for key in ("episodes", "episodes_per_iteration"):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"Bad value {value!r} for '{key}': give a whole number above 0.")
        for key in ("bonus_scale", "replan_share"):
            if not getattr(self, key) >= 0.0:
                raise ValueError(f"Bad value {getattr(self, key)} for '{key}': give 0 or more.")
        if not 0.0 < self.delta < 1.0:
            raise ValueError(f"Bad value {self.delta} for 'delta': give a number between 0 and 1.")
        self.measure()
        if self.env is not None:
            self.task()

    def measure(self) -> "RiskMeasure":
        """The risk measure.

        Raises:
            ValueError: No such measure, or parameters that it does not take.
        """
        from tenfold.envs.risk.static_measures import make_measure

        return make_measure(self.rho, self.rho_parameters)

    def task(self) -> "GridMDP":
        """The world: the task of `env` with the fields that `env_config` changes.

        Raises:
            ValueError: No such task or field, or values that make no MDP.
        """
        from tenfold.envs.risk.static_benchmarks import make_static_task

        return make_static_task(self.env, **self.env_config)
