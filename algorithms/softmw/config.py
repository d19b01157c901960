"""Config of the queue-scheduling algorithm.

The compiled parts are imported where they are first needed, so that a mistyped key is refused
before Numba is loaded.
"""

from typing import TYPE_CHECKING, Any, Literal

from tenfold.algorithms.planning import PlanningConfig

if TYPE_CHECKING:
    from tenfold.envs.queues.scenario import Scenario


class SoftMWConfig(PlanningConfig):
    """A scheduler on a scenario (arXiv:2303.01745; the scenario is `AlgorithmConfig.env`).

    Attributes:
        scheduler: Name of a scheduler in `schedulers.SCHEDULERS`.
        constants: The scheduler's constants that differ from its own defaults, by the names of
            its class (c_eta, delta, W, ...).
        signal: What is learnt of the chosen queue: its offered service S (``service``, as in the
            paper) or the departures min(Q, S) (``departures``).
        replicas: Independent replicas R; the scenario's number when None.
        replicas_per_item: Replicas that a runner simulates together; no result depends on it.
        horizon: Slots T of a run; the scenario's number when None.
        slots_per_iteration: Slots between two results.
        evaluation_duration: Slots of an evaluation (RLlib counts them as timesteps).
        env_config: Fields of the scenario that differ from its table (load, period, ...).
    """

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = "softmw"
        self.constants: dict[str, Any] = {}
        self.signal: Literal["service", "departures"] = "service"
        self.replicas: int | None = None
        self.replicas_per_item = 16
        self.horizon: int | None = None
        self.slots_per_iteration = 20_000
        self.evaluation_duration = 20_000
        self.evaluation_duration_unit = "timesteps"

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        from tenfold.algorithms.softmw.schedulers import SCHEDULERS, make_scheduler

        super().validate()
        if self.scheduler not in SCHEDULERS:
            raise ValueError(
                f"Bad value '{self.scheduler}' for 'scheduler': choose one of "
                f"{', '.join(SCHEDULERS)}."
            )
        if self.signal not in ("service", "departures"):
            raise ValueError(
                f"Bad value '{self.signal}' for 'signal': choose service or departures."
            )
        self.check_counts("slots_per_iteration", "evaluation_duration", "replicas_per_item")
        given = (key for key in ("replicas", "horizon") if getattr(self, key) is not None)
        self.check_counts(*given)
        if self.env is not None:
            make_scheduler(self.scheduler, self.scenario(), replicas=1, **self.constants)

    def scenario(self) -> "Scenario":
        """The world: the scenario of `env` with the fields that `env_config` changes.

        Raises:
            ValueError: No such scenario or field, or a file that cannot be read.
        """
        from tenfold.envs.queues.scenarios import scenario

        return scenario(self.env, **self.env_config)

    def horizon_slots(self) -> int:
        """Slots T of a run."""
        return self.horizon or self.scenario().horizon

    def batch_sizes(self) -> list[int]:
        """Replicas of each work item."""
        total = self.replicas or self.scenario().replicas
        full, rest = divmod(total, self.replicas_per_item)
        return [self.replicas_per_item] * full + ([rest] if rest else [])
