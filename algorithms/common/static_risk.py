"""What agents of static risk share: their keys, their tasks, and how they are judged."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from ray.rllib.core.columns import Columns

from tenfold.algorithms.common.distribution_figure import draw_distributions
from tenfold.algorithms.common.greedy_evaluation import EvaluationInterval
from tenfold.algorithms.common.gymnasium_tasks import GymnasiumConfig
from tenfold.algorithms.common.risk_levels import LEVELS, at_levels
from tenfold.envs.risk.collected import CollectedReturn, make_limited
from tenfold.envs.risk.estimates import estimate_risk, played_returns
from tenfold.envs.risk.measures import CVaR, Expectation, RiskMeasure
from tenfold.envs.risk.static_measures import make_measure
from tenfold.platform.parameters import parameter

# Seed of the episodes that evaluate a policy, far from those of training.
EVALUATION_SEED = 1_000_000
# Environments that play side by side in an evaluation.
SIDE_BY_SIDE = 100
# Shifts besides none that are looked at.
CANDIDATES = 10


class StaticRiskParameters(EvaluationInterval):
    """The measure of the return, and how it is followed and judged; put it before a method's
    other parameters."""

    rho: str = parameter(
        "cvar",
        "Risk measure of the return, a name of envs/risk/static_measures.py, or a function as "
        "package.module:function",
    )
    rho_parameters: dict[str, Any] = parameter(
        {"alpha": 0.25}, "Parameters of the risk measure, all of them"
    )
    maximise: Literal["rho", "mean"] = parameter(
        "rho", "What the policy climbs: rho, or the mean with rho as the judge"
    )
    first_states: int = parameter(
        16, "First observations that the return distribution is averaged over", ge=1, le=100_000
    )
    return_scale: float = parameter(
        1.0,
        "Rewards that are 1 in what the network sees and gives, and in kappa; about the size of a "
        "return",
        gt=0,
        le=1e12,
    )
    shift_span: float = parameter(
        0.5,
        "Largest shift, in training, of the reward collected so far, some share of a return's "
        "spread; 0 shifts nothing",
        ge=0,
        le=1e12,
    )
    judged_episodes: int = parameter(1_000, "Greedy episodes of an evaluation", ge=2, le=100_000)


class StaticRiskConfig(GymnasiumConfig):
    """Mixin of a config whose `Parameters` are `StaticRiskParameters` too.

    A Gymnasium environment is played with the share of its time that is gone and the reward
    collected so far in the observation, and ends for good at its limit of steps. `own_task` and
    `make_own` say which tasks the method has beside.
    """

    @staticmethod
    def make_own(task: str, **fields: Any) -> CollectedReturn:
        """A task of the method's own; it shows y last and ends after a limit of steps."""
        raise NotImplementedError("Each method with static risk makes the tasks of its own.")

    @staticmethod
    def make_gymnasium(task: str, **fields: Any) -> CollectedReturn:
        return make_limited(task, **fields)

    def validate(self) -> None:
        """Refuse what cannot run.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        super().validate()
        self.measure()
        if self.gamma != 1.0:
            raise ValueError(
                f"Bad value {self.gamma} for 'gamma': the risk is that of the undiscounted "
                "return, so give 1."
            )
        if self.env is not None:
            self.make_task()

    def make_task(self) -> CollectedReturn:
        """The task of `env` with the fields that `env_config` changes.

        Raises:
            ValueError: No such task, or fields that together do not make an environment.
        """
        make = self.make_gymnasium if self.own_task(self.env) is None else self.make_own
        return make(self.env, **self.env_config)

    def measure(self) -> RiskMeasure:
        """The risk measure that the agent is judged by.

        Raises:
            ValueError: No such measure, or parameters that it does not take.
        """
        config: Any = self
        return make_measure(config.rho, config.rho_parameters)

    def climbed_measure(self) -> RiskMeasure:
        """What the policy maximises."""
        config: Any = self
        return self.measure() if config.maximise == "rho" else Expectation()

    def candidate_shifts(self) -> np.ndarray:
        """Shifts of y that a policy may be greedy for, none first, (J,) in reward units."""
        config: Any = self
        others = config.shift_span * np.linspace(-1.0, 1.0, CANDIDATES)
        return np.concatenate([[0.0], others]) if config.shift_span else np.zeros(1)

    def first_observations(self) -> np.ndarray:
        """What episodes show first, (first_states, n) float32."""
        config: Any = self
        env = self.make_task()
        return np.array([env.reset(seed=seed)[0] for seed in range(config.first_states)])

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        config: Any = self
        ours = {"return_scale": config.return_scale, "shift_span": config.shift_span}
        return {**super()._model_config_auto_includes, **ours}


class RiskEvaluation:
    """Mixin of an algorithm with a `StaticRiskConfig` and a module that is a `ReturnUtility`; put
    it before RLlib's."""

    played: np.ndarray

    @classmethod
    def _should_create_evaluation_env_runners(cls, eval_config: Any) -> bool:
        """`evaluate` plays in environments of its own."""
        return False

    def evaluate(self, parallel_train_future: Any = None) -> dict[str, float]:
        """Play `judged_episodes` greedy episodes: rho of the return with its bootstrap interval,
        and its CVaR at `LEVELS`."""
        algorithm: Any = self
        config, module = algorithm.config, algorithm.get_module()

        def policy(seen: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                chosen = module.forward_inference({Columns.OBS: torch.as_tensor(seen)})
            return self.for_task(np.asarray(chosen[Columns.ACTIONS]))

        count = min(config.judged_episodes, SIDE_BY_SIDE)
        envs = [config.make_task() for _ in range(count)]
        self.played = played_returns(envs, policy, EVALUATION_SEED, config.judged_episodes)
        for env in envs:
            env.close()
        rho = config.measure()
        found = estimate_risk(rho, self.played, np.random.default_rng(EVALUATION_SEED))
        mass = np.full(len(self.played), 1.0 / len(self.played))
        values = [float(CVaR(at).of(self.played, mass)) for at in LEVELS]
        return {
            "risk": found.value,
            "risk_low": found.low,
            "risk_high": found.high,
            "believed_risk": module.believed_risk(rho),
            "episode_return_mean": float(self.played.mean()),
            **dict(zip(at_levels("cvar"), values, strict=True)),
        }

    def for_task(self, actions: np.ndarray) -> np.ndarray:
        """The module's actions (B, ...) as the task takes them."""
        return actions

    def draw_evaluation(self, folder: Path) -> list[Path]:
        """Distribution functions of the last evaluation's returns and of what the critic believes.

        Returns:
            The files written, in `folder`.
        """
        algorithm: Any = self
        knots = algorithm.get_module().knots.double().numpy()
        distributions = {
            name: (values, np.full(len(values), 1.0 / len(values)))
            for name, values in (("played", self.played), ("believed", knots))
        }
        draw_distributions(folder / "returns.png", distributions, algorithm.config.measure())
        return [folder / "returns.png"]
