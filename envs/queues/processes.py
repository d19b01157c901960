"""Arrival and service processes as they are declared: a distribution times modulators of its rate.

A process is a *distribution* (Bernoulli, Poisson, deterministic, Pareto, lognormal) whose mean, the
*rate* (work a slot), is a product of factors: numbers and *modulators* that change over time. So
``rate: 0.4`` is stationary, and ``rate: [0.4, {kind: on_off, ...}, {kind: periodic, ...}]`` is a
bursty source with a daily cycle. Recorded data replace all of that with ``kind: trace``.
"""

from math import inf
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic import model_validator as check

from tenfold.envs.queues.trace import read_trace

MAX_POISSON_RATE = 500.0  # exp(-rate), where sampling by inversion starts, must not underflow


# It has a name because pydantic's mypy plugin, where it reads `strict` in a class, refuses what
# validators convert (`rate=0.4`).
_DECLARED = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Spec(BaseModel):
    """A frozen declaration that refuses unknown keys, infinities, NaN, and texts as numbers."""

    model_config = _DECLARED


class Piecewise(Spec):
    """Piecewise-constant factor: `values` in turn.

    Attributes:
        values: The factor in each phase.
        every: Length of each phase in slots; the phases repeat for ever. Or else
        at: First slot of each phase, from 1 and increasing; the last phase never ends.
    """

    kind: Literal["piecewise"] = "piecewise"
    values: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1, strict=False)
    every: int | None = Field(default=None, ge=1)
    at: Annotated[tuple[int, ...], Field(strict=False)] | None = None

    @check(mode="after")
    def _one_schedule(self) -> "Piecewise":
        if (self.every is None) == (self.at is None):
            raise ValueError("piecewise needs either 'every' or 'at', and not both")
        if self.at is not None:
            if len(self.at) != len(self.values):
                raise ValueError("piecewise needs as many entries in 'at' as in 'values'")
            if self.at[0] != 1 or any(b <= a for a, b in zip(self.at, self.at[1:], strict=False)):
                raise ValueError("piecewise needs 'at' to start with slot 1 and to increase")
        return self

    @property
    def starts(self) -> tuple[int, ...]:
        """First slot of each phase of the first round."""
        return self.at or tuple(range(1, 1 + self.period, self.every or 1))

    @property
    def period(self) -> int:
        """Slots after which the phases repeat, 0 if they do not."""
        return (self.every or 0) * len(self.values)

    @property
    def largest(self) -> float:
        return max(self.values)


class Periodic(Spec):
    """Factor 1 + amplitude * sin(2 pi ((t - 1) / period + phase)), whose mean is 1.

    Attributes:
        period: Slots.
        amplitude: In [0, 1].
        phase: Fraction of a period, in [0, 1).
    """

    kind: Literal["periodic"] = "periodic"
    period: int = Field(ge=2)
    amplitude: float = Field(ge=0, le=1)
    phase: float = Field(default=0.0, ge=0, lt=1)

    @property
    def largest(self) -> float:
        return 1.0 + self.amplitude


class OnOff(Spec):
    """Markov-modulated factor: `on` and `off` in turn, for geometric times.

    Attributes:
        on: Factor while on.
        off: Factor while off.
        mean_on: Mean time on, in slots.
        mean_off: Mean time off, in slots.
    """

    kind: Literal["on_off"] = "on_off"
    on: float = Field(default=1.0, ge=0)
    off: float = Field(default=0.0, ge=0)
    mean_on: float = Field(ge=1)
    mean_off: float = Field(ge=1)

    @property
    def largest(self) -> float:
        return max(self.on, self.off)

    @property
    def fraction_on(self) -> float:
        return self.mean_on / (self.mean_on + self.mean_off)


class Walk(Spec):
    """Factor that walks at random on the grid low, low + step, ..., high.

    Every `every` slots it goes one step up or down with equal probability, and stays where the
    step would leave the grid; so its stationary distribution, from which it starts, is uniform.
    """

    kind: Literal["walk"] = "walk"
    low: float = Field(ge=0)
    high: float = Field(gt=0)
    step: float = Field(gt=0)
    every: int = Field(ge=1)

    @check(mode="after")
    def _grid(self) -> "Walk":
        cells = (self.high - self.low) / self.step
        if cells < 0.5 or abs(cells - round(cells)) > 1e-6:
            raise ValueError("walk needs 'high' to lie a whole number of steps above 'low'")
        return self

    @property
    def largest(self) -> float:
        return self.high

    @property
    def cells(self) -> int:
        return round((self.high - self.low) / self.step)


class Adversarial(Spec):
    """Factor that reacts to the schedule: the queue served most often is withdrawn for a window.

    At the start of each window of `window` slots the factor is `low` for the queue that was served
    most often in the window before (the first of several), and 1 for the others.
    """

    kind: Literal["adversarial"] = "adversarial"
    window: int = Field(ge=1)
    low: float = Field(ge=0, le=1)

    @property
    def largest(self) -> float:
        return 1.0


Modulator = Piecewise | Periodic | OnOff | Walk | Adversarial


def _factor_kind(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("kind"))
    return str(getattr(value, "kind", "number"))


Factor = Annotated[
    Annotated[Annotated[float, Field(ge=0)], Tag("number")]
    | Annotated[Piecewise, Tag("piecewise")]
    | Annotated[Periodic, Tag("periodic")]
    | Annotated[OnOff, Tag("on_off")]
    | Annotated[Walk, Tag("walk")]
    | Annotated[Adversarial, Tag("adversarial")],
    Discriminator(
        _factor_kind,
        custom_error_type="factor",
        custom_error_message=(
            "a factor of a rate is a number, or a mapping whose kind is piecewise, periodic, "
            "on_off, walk or adversarial"
        ),
    ),
]
Rate = Annotated[
    tuple[Factor, ...],
    Field(min_length=1, strict=False),
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,)),
]


class Modulated(Spec):
    """What all distributions share: a mean of `rate` work units a slot, a product of factors."""

    rate: Rate

    @property
    def base(self) -> float:
        """Product of the constant factors."""
        product = 1.0
        for factor in self.rate:
            product *= factor if isinstance(factor, float) else 1.0
        return product

    @property
    def modulators(self) -> tuple[Modulator, ...]:
        return tuple(factor for factor in self.rate if not isinstance(factor, float))

    @property
    def random(self) -> bool:
        """Whether replicas differ in it; a record and a fluid are the same for all."""
        return True

    @property
    def largest_rate(self) -> float:
        product = self.base
        for modulator in self.modulators:
            product *= modulator.largest
        return product

    def scaled(self, factor: float) -> "Modulated":
        """The same process with `factor` times the mean."""
        rate = (self.base * factor, *self.modulators)
        return type(self).model_validate({**dict(self), "rate": rate})


class Bernoulli(Modulated):
    """One unit of work with probability `rate`, else none."""

    kind: Literal["bernoulli"] = "bernoulli"

    @check(mode="after")
    def _probability(self) -> "Bernoulli":
        if self.largest_rate > 1 + 1e-12:
            raise ValueError(
                f"bernoulli is a probability, but its rate reaches {self.largest_rate:g}; "
                "keep the product of its factors within [0, 1]"
            )
        return self

    @property
    def bound(self) -> float:
        return 1.0


class Poisson(Modulated):
    """A Poisson number of units with mean `rate`."""

    kind: Literal["poisson"] = "poisson"

    @check(mode="after")
    def _inversion(self) -> "Poisson":
        if self.largest_rate > MAX_POISSON_RATE:
            raise ValueError(
                f"poisson takes rates up to {MAX_POISSON_RATE:g}, but this one reaches "
                f"{self.largest_rate:g}; use another unit of work"
            )
        return self

    @property
    def bound(self) -> float:
        return inf


class Deterministic(Modulated):
    """Exactly `rate` units of work (a fluid amount)."""

    kind: Literal["deterministic"] = "deterministic"

    @property
    def random(self) -> bool:
        return any(isinstance(modulator, OnOff | Walk) for modulator in self.modulators)

    @property
    def bound(self) -> float:
        return self.largest_rate


class Pareto(Modulated):
    """Pareto (type I) amounts with mean `rate`: P(X > x) = (x_m / x)^shape for x > x_m.

    Moments of order `shape` and above are infinite; x_m = rate (shape - 1) / shape.
    """

    kind: Literal["pareto"] = "pareto"
    shape: float = Field(gt=1)

    @property
    def bound(self) -> float:
        return inf


class Lognormal(Modulated):
    """Lognormal amounts with mean `rate`; `sigma` is the standard deviation of the logarithm."""

    kind: Literal["lognormal"] = "lognormal"
    sigma: float = Field(gt=0)

    @property
    def bound(self) -> float:
        return inf


class Trace(Spec):
    """Amounts recorded in a file (see trace.py); after its last slot it starts again.

    Attributes:
        path: CSV or Parquet file with the columns slot, queue, arrivals, service.
        queue: Which queue of the file.
        scale: The recorded amounts are multiplied by it.
    """

    kind: Literal["trace"] = "trace"
    path: str
    queue: int = Field(ge=0)
    scale: float = Field(default=1.0, ge=0)

    @property
    def random(self) -> bool:
        return False

    def scaled(self, factor: float) -> "Trace":
        """The same process with `factor` times the mean."""
        return self.model_copy(update={"scale": self.scale * factor})

    @property
    def bound(self) -> float:
        data = read_trace(self.path)
        return self.scale * float(max(data.arrivals.max(), data.service.max()))


Process = Annotated[
    Bernoulli | Poisson | Deterministic | Pareto | Lognormal | Trace, Field(discriminator="kind")
]


class Queue(Spec):
    """One queue: what arrives a slot, and what the server offers when it chooses this queue.

    Attributes:
        arrivals: Work that arrives.
        service: Work that a slot of service takes away.
        cost: Holding cost of a unit of work a slot.
    """

    arrivals: Process
    service: Process
    cost: float = Field(default=1.0, ge=0)

    @check(mode="after")
    def _adversary_serves(self) -> "Queue":
        if isinstance(self.arrivals, Modulated) and any(
            isinstance(modulator, Adversarial) for modulator in self.arrivals.modulators
        ):
            raise ValueError("the adversary withdraws service; it cannot modulate arrivals")
        return self
