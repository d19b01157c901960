"""Config of the queue-scheduling algorithm.

The compiled parts are imported where they are first needed, so that a mistyped key is refused
before Numba is loaded.
"""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import create_model

from tenfold.algorithms.common.planning import PlanningConfig
from tenfold.algorithms.softmw.registered import scheduler_names
from tenfold.platform import parameters
from tenfold.platform.parameters import parameter

if TYPE_CHECKING:
    from tenfold.envs.queues.scenario import Scenario

    SchedulerName = str
else:
    SchedulerName = Literal[scheduler_names()]


class SoftMWConfig(PlanningConfig):
    """A scheduler on a scenario (arXiv:2303.01745; the scenario is `AlgorithmConfig.env`)."""

    class Parameters(PlanningConfig.Parameters):
        """What a run is given; a scheduler's constants are in its own class."""

        scheduler: SchedulerName = parameter("softmw", "Who serves")
        constants: dict[str, float | None] = parameter(
            {}, "The scheduler's constants that differ from its class's (c_eta, delta, W, ...)"
        )
        signal: Literal["service", "departures"] = parameter(
            "service",
            "What is learnt of the chosen queue: its offered service S, as in the paper, or the "
            "departures min(Q, S)",
        )
        replicas: int | None = parameter(
            None, "Independent replicas R; the scenario's number when null", ge=1, le=10**6
        )
        replicas_per_item: int = parameter(
            16, "Replicas that a runner simulates together; no result depends on it", ge=1, le=10**6
        )
        horizon: int | None = parameter(
            None,
            "Length T of a run; the scenario's number when null",
            unit="slots",
            ge=1,
            le=10**9,
        )
        slots_per_iteration: int = parameter(
            20_000, "Time between two results", unit="slots", ge=1, le=10**9
        )
        evaluation_duration: int = parameter(
            20_000, "Length of an evaluation", unit="slots", ge=1, le=10**9
        )

    def __init__(self) -> None:
        super().__init__()
        self.evaluation_duration_unit = "timesteps"

    @classmethod
    def task_parameters(cls, task: str) -> type[parameters.Parameters]:
        """Fields of the scenario: load, period, horizon, replicas."""
        from tenfold.envs.queues.scenarios import fields_of

        fields: dict[str, Any] = {
            name: (field.annotation, field) for name, field in fields_of(task).model_fields.items()
        }
        return create_model(f"fields of {task}", __base__=parameters.Parameters, **fields)

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        from tenfold.algorithms.softmw.schedulers import make_scheduler

        super().validate()
        if self.env is not None:
            make_scheduler(self.scheduler, self.scenario(), replicas=1, **self.constants)

    def scenario(self) -> "Scenario":
        """The scenario of `env` with the fields that `env_config` changes.

        Raises:
            ValueError: No such scenario or field, or a file that cannot be read.
        """
        from tenfold.envs.queues.scenarios import scenario

        return scenario(self.env, **self.env_config)

    def total_steps(self) -> int:
        """Slots T of a run."""
        return self.horizon or self.scenario().horizon

    def batch_sizes(self) -> list[int]:
        """Replicas of each work item."""
        total = self.replicas or self.scenario().replicas
        full, rest = divmod(total, self.replicas_per_item)
        return [self.replicas_per_item] * full + ([rest] if rest else [])
