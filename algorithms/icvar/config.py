"""Config of iterated CVaR RL."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tenfold.algorithms.common.regret import RegretConfig
from tenfold.algorithms.icvar.feedback import features_of
from tenfold.algorithms.icvar.general import known_weights
from tenfold.algorithms.icvar.operators import theory_epsilon, uniform_grid
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.algorithms.icvar.stationary import LARGEST_DISCOUNT, StationaryCVaR
from tenfold.envs.risk.benchmarks import BUILDERS, make_task
from tenfold.envs.risk.discount import discounted_mdp
from tenfold.envs.risk.fields import check_size
from tenfold.envs.risk.mdp import TabularMDP
from tenfold.envs.risk.mdp_tasks import mixture_of_file
from tenfold.envs.risk.mixture import Mixture
from tenfold.envs.risk.names import MDP_ENDINGS
from tenfold.platform.parameters import Parameters as TaskParameters
from tenfold.platform.parameters import parameter, parameters_of


class ICVaRConfig(RegretConfig):
    """A learner on a task (arXiv:2307.02842; the task is `AlgorithmConfig.env`)."""

    class Parameters(RegretConfig.Parameters):
        """ICVaR-L, ICVaR-G and baselines; the rest is in `RegretConfig`."""

        learner: Literal[
            "icvar_l",
            "icvar_g",
            "icvar_rm",
            "human_feedback",
            "epsilon_greedy",
            "oracle",
            "uniform",
        ] = parameter("icvar_l", "The method or a baseline")
        bonus_scale: float = parameter(
            0.003, "Factor of the theory's bonus or radius; 0 is greedy", ge=0, le=1e6
        )
        alpha: float = parameter(
            0.25, "Risk level: CVaR_alpha is the mean of the worst share alpha", ge=1e-6, le=1
        )
        horizon: Literal["finite", "infinite"] = parameter(
            "finite",
            "Whether values are those of the H steps, or, for the oracle with a discount below 1, "
            "of an episode without end, whose best policy is the same at every step",
        )
        planning_alpha: float | None = parameter(
            None,
            "Risk level that the learner plans with, alpha when null; 1 is UCRL-VTR",
            ge=1e-6,
            le=1,
        )
        confidence: Literal["regression", "likelihood"] = parameter(
            "regression",
            "Sets of icvar_l: the theory's, by regression, or those of the likelihood of the "
            "mixture's weights, which are valid at bonus_scale 1, too, and far smaller",
        )
        lambda_: float | None = parameter(
            None, "Ridge lambda; H^2 when null", ge=1e-6, le=1e12, alias="lambda"
        )
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
        lr: float = parameter(1e-2, "Their learning rate", gt=0, le=100)
        rationality: float = parameter(
            4.0,
            "How surely the human of human_feedback prefers the better episode: c of Bradley-Terry",
            gt=0,
            le=1e6,
        )
        feedback_bonus: float = parameter(
            0.06, "Factor of the bonus of rewards of human_feedback; 0 is greedy", ge=0, le=1e6
        )
        exploration: float = parameter(
            0.05, "Probability of a random action, of epsilon_greedy", gt=0, lt=1
        )

    @classmethod
    def task_parameters(cls, task: str) -> type[TaskParameters] | None:
        """Arguments of the task's builder, or of the reader of the user's file."""
        if Path(task).suffix in MDP_ENDINGS:
            return parameters_of(mixture_of_file, leave_out=["path"])
        return parameters_of(BUILDERS[task], leave_out=["alpha"]) if task in BUILDERS else None

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        super().validate()
        if self.epsilon is not None and self.grid == "exact":
            raise ValueError(
                f"'epsilon' is {self.epsilon:g}, but grid = exact has no step: set grid = uniform "
                "or leave 'epsilon' out."
            )
        if self.confidence == "likelihood":
            self._check_likelihood()
        if self.check_confidence and self.learner not in ("icvar_l", "epsilon_greedy"):
            raise ValueError(
                f"check_confidence is about the optimistic Q of icvar_l and epsilon_greedy, and "
                f"'learner' is '{self.learner}': leave it out or choose one of them."
            )
        if self.horizon == "infinite":
            self._check_infinite()
        if self.env is not None:
            task = self.task()
            self.check_fit(task)
            self.exact_planner(task.mdp, self.alpha)

    def _check_infinite(self) -> None:
        """Refuse learners, whose guarantees are for episodes of H steps.

        Raises:
            ValueError: With what would be right.
        """
        if self.learner != "oracle":
            raise ValueError(
                f"Bad value '{self.learner}' for 'learner': it is about episodes of H steps, and "
                "horizon = infinite is for planning on a known model, so give oracle."
            )
        if self.discount > LARGEST_DISCOUNT:
            raise ValueError(
                f"Bad value {self.discount:g} for 'discount': with horizon = infinite give at most "
                f"{LARGEST_DISCOUNT:g}, for values without a discount are infinite."
            )

    def exact_planner(self, mdp: TabularMDP, alpha: float) -> IteratedCVaR | StationaryCVaR:
        """The planner of a known model, of this horizon.

        Raises:
            ValueError: Without a horizon, the model changes with the step.
        """
        if self.horizon == "infinite":
            return StationaryCVaR(mdp, alpha, self.discount)
        return IteratedCVaR(mdp, alpha)

    def _check_likelihood(self) -> None:
        """Refuse what likelihood sets do not know.

        Raises:
            ValueError: With what would be right.
        """
        known = {"learner": "icvar_l", "grid": "exact", "lambda_": None}
        for key, right in known.items():
            value = getattr(self, key)
            if value != right:
                raise ValueError(
                    f"Bad value '{value}' for '{key.rstrip('_')}': confidence = likelihood goes "
                    f"with {'null' if right is None else right} alone."
                )

    def check_fit(self, task: Mixture) -> None:
        """Refuse values that do not fit a task.

        Raises:
            ValueError: A grid too coarse or too fine, a finite class too small, or arrays that
                would not fit into memory.
        """
        if self.learner not in ("icvar_l", "icvar_g", "human_feedback"):
            return
        H, S, A, epsilon = task.mdp.H, task.mdp.S, task.mdp.A, self.grid_step(task)
        grid: dict[str, float] = {} if epsilon is None else {"epsilon": epsilon}
        points = S if epsilon is None else len(uniform_grid(H, epsilon))
        check_size(points * S * max(A * task.d, H), H=H, S=S, A=A, d=task.d, **grid)
        if self.learner == "human_feedback":
            d = math.prod(features_of(task.mdp))
            check_size((self.episodes + d) * d, episodes=self.episodes, features=d)
        if self.learner != "icvar_g" or self.model_class == "linear":
            return
        M = self.class_size
        if self.model_class == "neural":
            check_size(
                M * H * S * A * max(S, points, self.hidden), class_size=M, hidden=self.hidden
            )
            check_size(self.episodes * max(H * S, M), class_size=M, episodes=self.episodes)
            return
        known = len(known_weights(task))
        if known >= M:
            raise ValueError(
                f"Bad value {M} for 'class_size': this task has {known} true and base kernels, so "
                "give more."
            )
        check_size(M * max(S * A * points, H * M, H * points), class_size=M, **grid)

    def grid_step(self, task: Mixture) -> float | None:
        """The step of the uniform grid on a task; None for the exact one."""
        if self.grid == "exact":
            return None
        if self.epsilon is not None:
            return self.epsilon
        return theory_epsilon(task.d, task.mdp.H, self.risk_level(), self.episodes)

    def true_model(self) -> TabularMDP:
        return self.task().mdp

    def task(self) -> Mixture:
        """The task of `env`: the true model and the models that it is a mixture of.

        Raises:
            ValueError: No such task, or values or a file that do not make an MDP.
        """
        if Path(self.env).suffix in MDP_ENDINGS:
            task = mixture_of_file(self.env, **self.env_config)
        else:
            task = make_task(self.env, self.alpha, **self.env_config)
        return replace(task, mdp=discounted_mdp(task.mdp, self.discount))

    def risk_level(self) -> float:
        """The alpha that the learner plans with."""
        return self.alpha if self.planning_alpha is None else self.planning_alpha
