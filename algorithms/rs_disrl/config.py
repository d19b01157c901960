"""Config of risk-sensitive distributional RL."""

from pathlib import Path
from typing import Any, Literal

from tenfold.algorithms.common.replanning import ReplanningConfig
from tenfold.algorithms.rs_disrl.constraint import ConstrainedPlanner
from tenfold.algorithms.rs_disrl.linear import hats
from tenfold.algorithms.rs_disrl.planner import WITH_UTILITY, StaticPlanner
from tenfold.envs.risk.discount import discounted_grid
from tenfold.envs.risk.fields import check_size
from tenfold.envs.risk.mdp_tasks import grid_of_file
from tenfold.envs.risk.measures import ROUNDING, RiskMeasure
from tenfold.envs.risk.names import MDP_ENDINGS
from tenfold.envs.risk.returns import GridMDP
from tenfold.envs.risk.static_benchmarks import BUILDERS, make_static_task
from tenfold.envs.risk.static_measures import make_measure
from tenfold.platform.parameters import Parameters as TaskParameters
from tenfold.platform.parameters import parameter, parameters_of


class RSDisRLConfig(ReplanningConfig):
    """A learner on a task (arXiv:2402.18159; the task is `AlgorithmConfig.env`)."""

    class Parameters(ReplanningConfig.Parameters):
        """RS-DisRL and baselines; the rest is in `ReplanningConfig`."""

        learner: Literal[
            "rs_disrl", "risk_neutral", "keramati", "iterated", "oracle", "uniform"
        ] = parameter("rs_disrl", "The method or a baseline; risk_neutral plans for the mean")
        bonus_scale: float = parameter(
            0.2, "Factor of the theory's bonus or radius; 0 is greedy", ge=0, le=1e6
        )
        rho: str = parameter(
            "cvar",
            "Risk measure of the return that is maximised and that regret is measured with, a name "
            "of envs/risk/static_measures.py, or a function as package.module:function",
        )
        rho_parameters: dict[str, Any] = parameter(
            {"alpha": 0.25}, "Parameters of the risk measure, all of them"
        )
        at_least: float | None = parameter(
            None,
            "What CVaR of the return must be, a constraint under which the mean is maximised (with "
            "rho = expectation); none when null",
        )
        constraint_alpha: float = parameter(0.25, "Risk level of that CVaR", ge=1e-6, le=1)
        family: Literal["model", "value", "linear"] = parameter(
            "model",
            "RS-DisRL-M (model), or RS-DisRL-V with the tabular class (value) or with one that is "
            "linear in features of the reward collected so far (linear)",
        )
        estimator: Literal["lsr", "mle"] = parameter(
            "lsr", "Confidence sets by least squares, or by likelihood (not for linear)"
        )
        confidence: Literal["set", "mean"] = parameter(
            "set",
            "What likelihood's sets promise: to hold the truth, or (mean) to reach the optimum's "
            "utility alone, which is all that optimism needs, at a radius that does not grow with "
            "the outcomes",
        )
        value_knots: int = parameter(
            5, "Features of the linear class for each state and action", ge=2, le=2_000
        )
        replan_share: float = parameter(
            0.02,
            "Growth of the episodes until the policy is planned anew; 0: each time",
            ge=0,
            le=1e3,
        )
        judged_episodes: int = parameter(
            1_000, "Episodes that an evaluation estimates rho from", ge=2, le=100_000
        )

    @classmethod
    def task_parameters(cls, task: str) -> type[TaskParameters] | None:
        """Arguments of the task's builder, or of the reader of the user's file."""
        if Path(task).suffix in MDP_ENDINGS:
            return parameters_of(grid_of_file, leave_out=["path"])
        return parameters_of(BUILDERS[task]) if task in BUILDERS else None

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        super().validate()
        if self.family == "linear" and self.estimator == "mle":
            raise ValueError(
                "Bad value 'mle' for 'estimator': the linear family is fitted by least squares, so "
                "give lsr."
            )
        if self.confidence == "mean" and self.estimator != "mle":
            raise ValueError(
                f"Bad value '{self.estimator}' for 'estimator': confidence = mean is of "
                "likelihood's sets, so give mle."
            )
        rho = self.measure()
        if self.check_confidence:
            self._check_confidence(rho)
        if self.env is not None:
            mdp = self.true_model()
            _, S, A, O = mdp.probabilities.shape  # noqa: E741
            sizes = {"H": mdp.H, "S": S, "A": A, "Y": mdp.Y}
            check_size(2 * mdp.Y * S * O * max(mdp.H, A), **sizes)
            if self.learner in ("rs_disrl", "risk_neutral") and self.family == "value":
                check_size(mdp.H * mdp.Y * (S + 1) * A * (O + 1), **sizes)
            self._check_constraint(mdp)
            if self.family == "linear":
                check_size(mdp.Y * mdp.Y * S * A * O, **sizes)
                hats(mdp.Y, self.value_knots)

    def _check_confidence(self, rho: RiskMeasure) -> None:
        """Refuse to check what promises nothing, or for a measure without a utility.

        Raises:
            ValueError: With what would be right.
        """
        if self.learner != "rs_disrl" or self.family == "linear":
            which = self.family if self.family == "linear" else self.learner
            raise ValueError(
                f"check_confidence is about the sets of rs_disrl (model or value), not about "
                f"{which}: leave it out or choose that learner."
            )
        if not isinstance(rho, WITH_UTILITY) or self.at_least is not None:
            what = "a constraint (at_least)" if self.at_least is not None else f"rho = {self.rho}"
            raise ValueError(
                f"check_confidence needs one utility that the optimum maximises, which {what} has "
                "not got: leave it out or give rho = expectation, cvar or entropic."
            )

    def least(self, mdp: GridMDP) -> float | None:
        """What CVaR must be, in the unit of the MDP's returns; None without a constraint."""
        return None if self.at_least is None else self.at_least - mdp.unit.offset

    def _check_constraint(self, mdp: GridMDP) -> None:
        """Refuse a constraint that goes with something else, or that no policy fulfils.

        Raises:
            ValueError: With what would be right.
        """
        least = self.least(mdp)
        if least is None:
            return
        if self.rho != "expectation":
            raise ValueError(
                f"Bad value '{self.rho}' for 'rho': under a constraint (at_least) the mean is "
                "maximised, so give expectation, with rho_parameters={}."
            )
        if self.learner not in ("rs_disrl", "oracle") or self.family == "linear":
            which = self.family if self.family == "linear" else self.learner
            raise ValueError(
                f"A constraint (at_least) is for the learners rs_disrl (model or value) and "
                f"oracle, not for {which}: choose one of them or leave 'at_least' out."
            )
        largest = ConstrainedPlanner(StaticPlanner(mdp), self.constraint_alpha, least).largest()
        if least > largest + ROUNDING:
            raise ValueError(
                f"Bad value {self.at_least:g} for 'at_least': the largest CVaR at "
                f"{self.constraint_alpha:g} that a policy has is {mdp.unit.of(largest):g}."
            )

    def measure(self) -> RiskMeasure:
        """The risk measure.

        Raises:
            ValueError: No such measure, or parameters that it does not take.
        """
        return make_measure(self.rho, self.rho_parameters)

    def true_model(self) -> GridMDP:
        if Path(self.env).suffix in MDP_ENDINGS:
            mdp = grid_of_file(self.env, **self.env_config)
        else:
            mdp = make_static_task(self.env, **self.env_config)
        return discounted_grid(mdp, self.discount)
