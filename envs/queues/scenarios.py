"""The table of scenarios, and how a name, a YAML file or a trace file becomes a `Scenario`.

Arrivals in the table are proportions. They are scaled so that the scenario's load is what is asked
for: at load 1 they are on the boundary of what policies that switch with the rates can carry (see
capacity.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, create_model

from tenfold.envs.queues.capacity import capacity, find_phases
from tenfold.envs.queues.processes import (
    Adversarial,
    Bernoulli,
    OnOff,
    Pareto,
    Periodic,
    Piecewise,
    Poisson,
    Queue,
    Spec,
    Trace,
    Walk,
)
from tenfold.envs.queues.scenario import (
    MOST_REPLICAS,
    MOST_SLOTS,
    Scenario,
    explain,
    read_scenario,
    traces_of,
)
from tenfold.envs.queues.trace import SUFFIXES, read_trace

SAMPLE_TRACE = Path(__file__).parent / "sample_trace.csv.gz"

# Mean services of the heterogeneous scenarios.
FOUR = (0.9, 0.7, 0.5, 0.3)
EIGHT = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4)


_SLOTS = {"unit": "slots"}
Load = Annotated[
    float | None,
    Field(gt=0, le=1_000, description="Fraction of what switching policies can carry"),
]
Period = Annotated[
    int,
    Field(
        ge=2,
        le=MOST_SLOTS,
        description="Time between switches, or of a cycle",
        json_schema_extra=_SLOTS,
    ),
]
Horizon = Annotated[
    int,
    Field(
        ge=1,
        le=MOST_SLOTS,
        description="Length of an episode or a run",
        json_schema_extra=_SLOTS,
    ),
]
Replicas = Annotated[int, Field(ge=1, le=MOST_REPLICAS, description="Independent copies")]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        about: One sentence.
        queues: From (period, horizon) to the queues, arrivals in proportion.
        load: Default load; None: as recorded.
        period: Default period, None if the scenario has none.
    """

    about: str
    queues: Callable[[int, int], Sequence[Queue]]
    load: float | None
    period: int | None = None


def stationary(period: int, horizon: int) -> Sequence[Queue]:
    """Equal arrivals, unequal services: uniform service starves the slowest queue."""
    return [Queue(arrivals=Bernoulli(rate=0.1), service=Bernoulli(rate=mu)) for mu in FOUR]


def switching(period: int, horizon: int) -> Sequence[Queue]:
    """Half of the queues are good (0.95) and half bad (0.3); every `period` slots they swap.

    Symmetric: uniform service carries loads up to 0.658.
    """
    return [
        Queue(
            arrivals=Bernoulli(rate=0.1),
            service=Bernoulli(rate=Piecewise(values=values, every=period)),
        )
        for values in ((0.95, 0.3), (0.95, 0.3), (0.3, 0.95), (0.3, 0.95))
    ]


def asymmetric(period: int, horizon: int) -> Sequence[Queue]:
    """Two heavy queues whose good phases alternate, and two light ones: the headline claim.

    Mean services (0.95, 0.05, 0.6, 0.6) and (0.05, 0.95, 0.6, 0.6) in turn; arrivals 6 : 6 : 1 : 1,
    at load 0.7 lambda_h = 0.2631 for the heavy queues and lambda_l = 0.0439 for the light ones.
    What follows is our derivation, at that load.

    *Feasible with slack eps = 0.055.* Serve the heavy queue in its good phase with probability
    x = 0.67, never in its bad one, and each light queue with y = 0.165. Over a cycle a heavy queue
    gets 0.67 * 0.95 / 2 = 0.318 = lambda_h + 0.055, a light one 0.165 * 0.6 = 0.099 =
    lambda_l + 0.055. This reference moves by 2 * 0.67 at each switch: with a period of 10^4 in
    T = 10^6 slots by 133 in all, which is T^(1/2 - delta) with delta = 0.146.

    *Uniform service* gives a heavy queue 0.5 / 4 = 0.125: it grows by 0.138 a slot.

    *Longest queue* keeps the two heavy queues equal once they are large. With f the fraction of the
    slots of the one in its good phase, lambda_h - 0.95 f = lambda_h - 0.05 (1 - f), so f = 0.05:
    the server is drawn to the queue that it cannot help, in both phases. Each heavy queue gets
    0.0475 and grows by 0.216 a slot (the light ones, 0.044 a slot, never catch up).

    *argmax c_i Q_i with constants c_i*, and so MaxWeight on empirical means: these are averages
    over all slots so far, know no phase, and move by O(1 / n) a sample. Let c_1 Q_1 = c_2 Q_2 hold
    with r = c_2 / c_1 <= 1. As long as r stays, queue 2 is the larger one and needs, over a cycle,
    lambda_h of service; while both are served, its growth g obeys, in its good phase,
    lambda_h - 0.05 f = r g with g = lambda_h - 0.95 (1 - f), f the fraction given to queue 1. Then
    f = (lambda_h (1 - r) + 0.95 r) / (0.05 + 0.95 r), which is above 0.95 for every r <= 1: queue 2
    gets at most 0.05 of the slots of its good phase and grows by 0.215 a slot. In its bad phase,
    where a slot serves 0.05 at best, it grows by 0.213 or more, whatever it gets.
    """
    heavy = [
        Queue(
            arrivals=Bernoulli(rate=0.06),
            service=Bernoulli(rate=Piecewise(values=values, every=period)),
        )
        for values in ((0.95, 0.05), (0.05, 0.95))
    ]
    light = Queue(arrivals=Bernoulli(rate=0.01), service=Bernoulli(rate=0.6))
    return [*heavy, light, light]


def periodic(period: int, horizon: int) -> Sequence[Queue]:
    """Sinusoidal services, one phase a queue; arrivals peak when the queue's service is worst."""
    return [
        Queue(
            arrivals=Poisson(
                rate=[0.1, Periodic(period=period, amplitude=0.5, phase=(i / 8 + 0.5) % 1)]
            ),
            service=Bernoulli(rate=[0.5, Periodic(period=period, amplitude=0.8, phase=i / 8)]),
        )
        for i in range(8)
    ]


def bursty(period: int, horizon: int) -> Sequence[Queue]:
    """Markov on/off arrivals: bursts of 50 slots on average, five times the mean rate."""
    burst = OnOff(on=5.0, off=0.0, mean_on=50, mean_off=200)
    return [Queue(arrivals=Poisson(rate=[0.05, burst]), service=Bernoulli(rate=mu)) for mu in EIGHT]


def drift(period: int, horizon: int) -> Sequence[Queue]:
    """Each service rate walks on 0.4, 0.45, ..., 0.9, so that all together move T^0.4 at most."""
    every = max(1, round(8 * 0.05 * horizon**0.6))
    walk = Walk(low=0.4, high=0.9, step=0.05, every=every)
    return [Queue(arrivals=Bernoulli(rate=0.1), service=Bernoulli(rate=walk)) for _ in range(8)]


def adversarial(period: int, horizon: int) -> Sequence[Queue]:
    """Service 0.9, but 0.09 for the queue that was served most in the window just over."""
    withdrawn = Adversarial(window=period, low=0.1)
    return [
        Queue(arrivals=Bernoulli(rate=0.1), service=Bernoulli(rate=[0.9, withdrawn]))
        for _ in range(2)
    ]


def heavy_tail(period: int, horizon: int) -> Sequence[Queue]:
    """The means of `stationary`, but Pareto amounts with infinite third moments."""
    return [
        Queue(arrivals=Pareto(rate=0.1, shape=2.5), service=Pareto(rate=mu, shape=2.5))
        for mu in FOUR
    ]


def recorded(path: str | Path) -> Sequence[Queue]:
    """Arrivals and services of a trace file."""
    K = read_trace(path).service.shape[1]
    columns = [Trace(path=str(path), queue=i) for i in range(K)]
    return [Queue(arrivals=column, service=column) for column in columns]


def companions(path: str | Path) -> list[Path]:
    """The trace files that must go with a scenario's YAML file, none for a trace.

    Raises:
        ValueError: The file cannot be read.
    """
    return traces_of(path) if str(path).endswith((".yaml", ".yml")) else []


SCENARIOS = {
    "switching": Row(
        "The queues' service rates 0.95 and 0.3 swap every period.", switching, 0.6, 10_000
    ),
    "stationary": Row("Bernoulli, constant rates, heterogeneous service.", stationary, 0.9),
    "asymmetric": Row(
        "Two heavy queues with alternating good phases, two light ones.", asymmetric, 0.7, 10_000
    ),
    "periodic": Row("Sinusoidal rates, each queue in its own phase.", periodic, 0.8, 5_000),
    "bursty": Row("Markov on/off arrivals.", bursty, 0.8),
    "drift": Row("Random-walk service rates of total variation T^0.4.", drift, 0.8),
    "adversarial": Row(
        "The queue most often served lately is withdrawn for a period.", adversarial, 0.8, 5_000
    ),
    "heavy_tail": Row("Pareto arrivals and services of shape 2.5.", heavy_tail, 0.8),
    "near_critical": Row("As stationary, close to the boundary.", stationary, 0.98),
    "infeasible": Row(
        "As stationary, beyond the boundary: every scheduler fails.", stationary, 1.1
    ),
    "trace": Row(
        "The shipped sample trace, see sample_trace.py.", lambda *_: recorded(SAMPLE_TRACE), None
    ),
}


def scenario(name: str, **fields: Any) -> Scenario:
    """The scenario of a name in the table, of a YAML file, or of a trace file.

    Args:
        name: A key of `SCENARIOS`, or a path that ends with .yaml or .yml (see `read_scenario`) or
            like a trace (see trace.py).
        **fields: What differs from the default: `load`, `period`, `horizon`, `replicas`.

    Raises:
        ValueError: One sentence: an unknown name or field, a bad value, or a refused file.
    """
    row, title, sizes = _row(name)
    fields_model = _fields_model(row, title, sizes)
    unknown = [key for key in fields if key not in fields_model.model_fields]
    if unknown:
        raise ValueError(
            f"scenario '{title}' has no field '{unknown[0]}'; it has "
            f"{', '.join(fields_model.model_fields)}."
        )
    try:
        chosen = fields_model.model_validate(fields).model_dump()
    except ValidationError as error:
        raise ValueError(f"scenario '{title}': {explain(error)}") from None
    return _build(row, title, **chosen)


def fields_of(name: str) -> type[Spec]:
    """What can be changed about a scenario, with its defaults.

    `load` (None leaves the arrivals as declared), `period` if it has one, `horizon`, `replicas`.

    Raises:
        ValueError: As `scenario`.
    """
    return _fields_model(*_row(name))


def _row(name: str) -> tuple[Row, str, dict[str, int]]:
    """The row of a scenario, its title, and the sizes that a file gives."""
    if name.endswith((".yaml", ".yml")):
        declared = read_scenario(name)
        row = Row(declared.about, lambda *_: declared.queues, None)
        sizes = {"horizon": declared.horizon, "replicas": declared.replicas}
        return row, declared.name, sizes
    if name.endswith(SUFFIXES):
        return Row(f"Recorded in {name}.", lambda *_: recorded(name), None), Path(name).name, {}
    if name in SCENARIOS:
        return SCENARIOS[name], name, {}
    raise ValueError(
        f"there is no scenario '{name}'; give one of {', '.join(SCENARIOS)}, or a file that "
        f"ends with .yaml, .yml, {', '.join(SUFFIXES)}."
    )


def _fields_model(row: Row, title: str, sizes: dict[str, int]) -> type[Spec]:
    fields: dict[str, Any] = {"load": (Load, row.load)}
    if row.period is not None:
        fields["period"] = (Period, row.period)
    fields["horizon"] = (Horizon, sizes.get("horizon", 1_000_000))
    fields["replicas"] = (Replicas, sizes.get("replicas", 64))
    return create_model(f"fields of {title}", __base__=Spec, **fields)


def _build(
    row: Row, title: str, load: float | None, horizon: int, replicas: int, period: int = 0
) -> Scenario:
    queues = tuple(row.queues(period, horizon))
    if load is not None:
        scale = load * _capacity(queues, horizon)
        try:
            queues = tuple(
                queue.model_copy(update={"arrivals": queue.arrivals.scaled(scale)})
                for queue in queues
            )
        except ValidationError as error:
            raise ValueError(
                f"scenario '{title}' cannot have load {load:g}: {explain(error)}"
            ) from None
    return Scenario(name=title, about=row.about, queues=queues, horizon=horizon, replicas=replicas)


@lru_cache(maxsize=64)
def _capacity(queues: tuple[Queue, ...], horizon: int) -> float:
    return capacity(find_phases(queues, horizon)).value
