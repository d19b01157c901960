"""Config of iterated CVaR RL."""

from typing import TYPE_CHECKING, Literal

from tenfold.algorithms.planning import PlanningConfig

if TYPE_CHECKING:
    from tenfold.envs.risk.mixture import Mixture

CHOICES = {
    "learner": ("icvar_l", "icvar_g", "icvar_rm", "epsilon_greedy", "oracle", "uniform"),
    "grid": ("exact", "uniform"),
    "model_class": ("linear", "finite"),
}


class ICVaRConfig(PlanningConfig):
    """A learner on a task (arXiv:2307.02842; the task is `AlgorithmConfig.env`).

    Attributes:
        alpha: Risk level in (0, 1]: CVaR_alpha is the mean of the worst share alpha. Regret is
            measured with it.
        planning_alpha: Risk level that the learner plans with; `alpha` when None. 1 is the
            risk-neutral learner (value-targeted regression, UCRL-VTR).
        learner: ICVaR-L, ICVaR-G, or a baseline.
        bonus_scale: Factor of the theory's bonus (of beta, gamma, or the tabular bonus).
        delta: Probability with which a confidence set may miss the truth.
        lambda_: Ridge lambda (key lambda); H^2 when None.
        grid: Where x runs in max_x { x - E[(x - V)^+] / alpha }: over the values of V (``exact``)
            or over steps of `epsilon` (``uniform``).
        epsilon: Step of the uniform grid; d H sqrt(alpha^(H - 3) / K) when None.
        model_class: Of ICVaR-G.
        class_size: Models in the finite class.
        exploration: Of `epsilon_greedy`: probability of a random action.
        episodes: K, the episodes of a run; the theory's constants depend on it.
        episodes_per_iteration: Episodes between two results.
        env_config: Fields of the task that differ from its table (H, p, S, d, ...).
    """

    def __init__(self) -> None:
        super().__init__()
        self.alpha = 0.25
        self.planning_alpha: float | None = None
        self.learner: Literal[
            "icvar_l", "icvar_g", "icvar_rm", "epsilon_greedy", "oracle", "uniform"
        ] = "icvar_l"
        self.bonus_scale = 1.0
        self.delta = 0.05
        self.lambda_: float | None = None
        self.grid: Literal["exact", "uniform"] = "exact"
        self.epsilon: float | None = None
        self.model_class: Literal["linear", "finite"] = "linear"
        self.class_size = 32
        self.exploration = 0.05
        self.episodes = 2_000
        self.episodes_per_iteration = 100

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        from tenfold.algorithms.icvar.learners import make_learner
        from tenfold.envs.risk.measures import check_alpha

        super().validate()
        for key, choices in CHOICES.items():
            if getattr(self, key) not in choices:
                raise ValueError(
                    f"Bad value '{getattr(self, key)}' for '{key}': choose one of "
                    f"{', '.join(choices)}."
                )
        check_alpha(self.alpha)
        if self.planning_alpha is not None:
            check_alpha(self.planning_alpha, "planning_alpha")
        for key in ("episodes", "episodes_per_iteration", "class_size"):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"Bad value {value!r} for '{key}': give a whole number above 0.")
        if self.bonus_scale < 0.0:
            raise ValueError(f"Bad value {self.bonus_scale} for 'bonus_scale': give 0 or more.")
        for key in ("delta", "exploration"):
            if not 0.0 < getattr(self, key) < 1.0:
                raise ValueError(
                    f"Bad value {getattr(self, key)} for '{key}': give a number between 0 and 1."
                )
        if self.lambda_ is not None and not self.lambda_ > 0.0:
            raise ValueError(f"Bad value {self.lambda_} for 'lambda': give a number above 0.")
        if self.epsilon is not None and self.grid == "exact":
            raise ValueError(
                f"'epsilon' is {self.epsilon:g}, but grid = exact has no step: set grid = uniform "
                "or leave 'epsilon' out."
            )
        if self.env is not None:
            make_learner(self, self.task())

    def task(self) -> "Mixture":
        """The world: the task of `env` with the fields that `env_config` changes.

        Raises:
            ValueError: No such task or field, or values that make no MDP.
        """
        from tenfold.envs.risk.benchmarks import make_task

        return make_task(self.env, self.alpha, **self.env_config)

    def risk_level(self) -> float:
        """The alpha that the learner plans with."""
        return self.alpha if self.planning_alpha is None else self.planning_alpha
