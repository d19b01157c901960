"""Config of iterated CVaR RL."""

from typing import TYPE_CHECKING, Literal

from tenfold.algorithms.regret import RegretConfig
from tenfold.platform.parameters import parameter, parameters_of

if TYPE_CHECKING:
    from tenfold.envs.risk.mdp import TabularMDP
    from tenfold.envs.risk.mixture import Mixture


class ICVaRConfig(RegretConfig):
    """A learner on a task (arXiv:2307.02842; the task is `AlgorithmConfig.env`)."""

    class Parameters(RegretConfig.Parameters):
        """ICVaR-L, ICVaR-G and baselines; the rest stands in `RegretConfig`."""

        learner: Literal[
            "icvar_l", "icvar_g", "icvar_rm", "epsilon_greedy", "oracle", "uniform"
        ] = parameter("icvar_l", "The method or a baseline")
        alpha: float = parameter(
            0.25, "Risk level: CVaR_alpha is the mean of the worst share alpha", gt=0, le=1
        )
        planning_alpha: float | None = parameter(
            None, "Risk level of the learner's plans, alpha when null; 1 is UCRL-VTR", gt=0, le=1
        )
        lambda_: float | None = parameter(None, "Ridge lambda; H^2 when null", gt=0, alias="lambda")
        grid: Literal["exact", "uniform"] = parameter(
            "exact", "x in max_x { x - E[(x - V)^+] / alpha }: the values of V, or steps of epsilon"
        )
        epsilon: float | None = parameter(
            None, "Step of the uniform grid; d H sqrt(alpha^(H - 3) / K) when null", gt=0
        )
        model_class: Literal["linear", "finite", "neural"] = parameter(
            "linear", "Model class of ICVaR-G"
        )
        class_size: int = parameter(
            32, "Models in the finite class, members of the neural ensemble", ge=1, le=10_000
        )
        hidden: int = parameter(16, "Hidden units of a member", ge=1, le=10_000)
        gradient_steps: int = parameter(
            10, "Steps of Adam after each episode, for the ensemble", ge=1, le=10**6
        )
        lr: float = parameter(1e-2, "Their learning rate", gt=0)
        exploration: float = parameter(
            0.05, "Probability of a random action, of epsilon_greedy", gt=0, lt=1
        )

    @classmethod
    def task_parameters(cls, task: str) -> type[Parameters] | None:
        """Arguments of the task's builder."""
        from tenfold.envs.risk.benchmarks import BUILDERS

        return parameters_of(BUILDERS[task], leave_out=["alpha"])

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        from tenfold.algorithms.icvar.learners import make_learner

        super().validate()
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
