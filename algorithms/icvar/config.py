"""Config of iterated CVaR RL."""

from typing import TYPE_CHECKING, ClassVar

from tenfold.algorithms.regret import RegretConfig

if TYPE_CHECKING:
    from tenfold.envs.risk.mdp import TabularMDP
    from tenfold.envs.risk.mixture import Mixture


class ICVaRConfig(RegretConfig):
    """A learner on a task (arXiv:2307.02842; the task is `AlgorithmConfig.env`).

    Attributes:
        alpha: Risk level in (0, 1]: CVaR_alpha is the mean of the worst share alpha. Regret is
            measured with it.
        planning_alpha: Risk level that the learner plans with; `alpha` when None. 1 is the
            risk-neutral learner (value-targeted regression, UCRL-VTR).
        lambda_: Ridge lambda (key lambda); H^2 when None.
        grid: Where x runs in max_x { x - E[(x - V)^+] / alpha }: over the values of V (``exact``)
            or over steps of `epsilon` (``uniform``).
        epsilon: Step of the uniform grid; d H sqrt(alpha^(H - 3) / K) when None.
        model_class: Of ICVaR-G.
        class_size: Models in the finite class, members of the neural ensemble.
        hidden: Hidden units of a member.
        gradient_steps: Steps of Adam after each episode, for the ensemble.
        lr: Their learning rate.
        exploration: Of `epsilon_greedy`: probability of a random action.

    The learners are ICVaR-L, ICVaR-G and baselines; `bonus_scale` is the factor of beta, gamma, or
    the tabular bonus. Everything else: `RegretConfig`.
    """

    choices: ClassVar = {
        "learner": ("icvar_l", "icvar_g", "icvar_rm", "epsilon_greedy", "oracle", "uniform"),
        "grid": ("exact", "uniform"),
        "model_class": ("linear", "finite", "neural"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.alpha = 0.25
        self.planning_alpha: float | None = None
        self.lambda_: float | None = None
        self.grid = "exact"
        self.epsilon: float | None = None
        self.model_class = "linear"
        self.class_size = 32
        self.hidden = 16
        self.gradient_steps = 10
        self.lr = 1e-2
        self.exploration = 0.05

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        from tenfold.algorithms.icvar.learners import make_learner
        from tenfold.envs.risk.measures import check_alpha

        super().validate()
        check_alpha(self.alpha)
        if self.planning_alpha is not None:
            check_alpha(self.planning_alpha, "planning_alpha")
        self.check_counts("class_size", "hidden", "gradient_steps")
        self.check_shares("exploration")
        if not self.lr > 0.0:
            raise ValueError(f"Bad value {self.lr} for 'lr': give a number above 0.")
        if self.lambda_ is not None and not self.lambda_ > 0.0:
            raise ValueError(f"Bad value {self.lambda_} for 'lambda': give a number above 0.")
        if self.epsilon is not None and self.grid == "exact":
            raise ValueError(
                f"'epsilon' is {self.epsilon:g}, but grid = exact has no step: set grid = uniform "
                "or leave 'epsilon' out."
            )
        if self.env is not None:
            make_learner(self, self.task())

    def world(self) -> "TabularMDP":
        return self.task().mdp

    def task(self) -> "Mixture":
        """The task of `env`: the true model and the models that it is a mixture of.

        Raises:
            ValueError: No such task or field, or values that make no MDP.
        """
        from tenfold.envs.risk.benchmarks import make_task

        return make_task(self.env, self.alpha, **self.env_config)

    def risk_level(self) -> float:
        """The alpha that the learner plans with."""
        return self.alpha if self.planning_alpha is None else self.planning_alpha
