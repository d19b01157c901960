"""From declared processes to the flat tables of numbers that the compiled kernel reads.

Processes are numbered j = 0 ... 2K - 1: the arrivals of the K queues, then their services.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tenfold.envs.queues.processes import (
    Adversarial,
    Lognormal,
    Modulated,
    Modulator,
    OnOff,
    Pareto,
    Periodic,
    Piecewise,
    Process,
    Queue,
    Trace,
    Walk,
)
from tenfold.envs.queues.trace import TraceData, block_means, read_trace

BERNOULLI, POISSON, DETERMINISTIC, PARETO, LOGNORMAL, TRACE = range(6)
PIECEWISE, PERIODIC, ON_OFF, WALK, ADVERSARIAL = range(5)

# Columns of the tables.
KIND, PLACE, PROCESS = 0, 1, 2  # of `processes` and `modulators`
BASE, SHAPE_A, SHAPE_B = 0, 1, 2  # of `constants`
SLOT, LEVEL = 0, 1  # of `steps`
AMOUNT, RATE = 0, 1  # of `recorded`

_DISTRIBUTIONS = {
    "bernoulli": BERNOULLI,
    "poisson": POISSON,
    "deterministic": DETERMINISTIC,
    "pareto": PARETO,
    "lognormal": LOGNORMAL,
    "trace": TRACE,
}
# Uniform numbers that a slot takes: Box-Muller takes two; what needs none points to the first.
_DRAWS = {BERNOULLI: 1, POISSON: 1, DETERMINISTIC: 0, PARETO: 1, LOGNORMAL: 2, TRACE: 0}
_MODULATOR_DRAWS = {PIECEWISE: 0, PERIODIC: 0, ON_OFF: 1, WALK: 1, ADVERSARIAL: 0}

Row = tuple[float, float, float, float]


class Tables(NamedTuple):
    """A scenario's constants. P = 2K processes, m modulators; float64 but where int64 is said.

    Attributes:
        processes: int64 (P, 2): kind of distribution, place of its first uniform number.
        constants: (P, 3): constant part of the rate, two constants of the distribution (of a
            trace: first row in `recorded`, and number of rows).
        modulators: int64 (m, 3): kind, place of the uniform number, process that is modulated.
        mod_constants: (m, 4).
        steps: All phases of the piecewise modulators, (phases, 2): first slot, level.
        recorded: All traces one after the other, (slots, 2): amount, mean of its block.
        draws: int64 (1,), uniform numbers a slot.
        window: int64 (1,), window of the adversary, 0 without one.
    """

    processes: np.ndarray
    constants: np.ndarray
    modulators: np.ndarray
    mod_constants: np.ndarray
    steps: np.ndarray
    recorded: np.ndarray
    draws: np.ndarray
    window: np.ndarray


def compile_tables(queues: Sequence[Queue]) -> Tables:
    """The tables of a scenario with these queues.

    Raises:
        ValueError: A trace file is refused (see trace.py), or adversaries differ in their window.
    """
    processes = [queue.arrivals for queue in queues] + [queue.service for queue in queues]
    modulators = [
        (j, modulator)
        for j, process in enumerate(processes)
        if isinstance(process, Modulated)
        for modulator in process.modulators
    ]
    kinds = [_DISTRIBUTIONS[process.kind] for process in processes]
    coded, steps = _code_modulators([modulator for _, modulator in modulators])
    draws = [_DRAWS[kind] for kind in kinds] + [_MODULATOR_DRAWS[kind] for kind, _ in coded]
    total = max(1, sum(draws))
    places = [sum(draws[:i]) if count else 0 for i, count in enumerate(draws)]
    constants, recorded = _constants(processes, len(queues))
    return Tables(
        processes=_integers(list(zip(kinds, places, strict=False)), 2),
        constants=constants,
        modulators=_integers(
            [
                (kind, place, j)
                for (kind, _), place, (j, _) in zip(
                    coded, places[len(kinds) :], modulators, strict=True
                )
            ],
            3,
        ),
        mod_constants=_floats([row for _, row in coded], 4),
        steps=_floats(steps, 2),
        recorded=recorded,
        draws=np.array([total]),
        window=np.array([_window([modulator for _, modulator in modulators])]),
    )


def _constants(processes: Sequence[Process], K: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of `constants` and of `recorded`."""
    files = {p.path: read_trace(p.path) for p in processes if isinstance(p, Trace)}
    rows: list[tuple[float, float, float]] = []
    recorded = [np.empty((0, 2))]
    for j, process in enumerate(processes):
        if isinstance(process, Trace):
            amounts = _column(process, files[process.path], arrivals=j < K)
            rows.append((process.scale, sum(map(len, recorded)), len(amounts)))
            recorded.append(np.column_stack([amounts, block_means(amounts)]))
        elif isinstance(process, Pareto):
            shape = process.shape
            rows.append((process.base, (shape - 1) / shape, -1 / shape))
        elif isinstance(process, Lognormal):
            rows.append((process.base, process.sigma, -(process.sigma**2) / 2))
        else:
            rows.append((process.base, 0.0, 0.0))
    return _floats(rows, 3), np.concatenate(recorded)


def _column(process: Trace, data: TraceData, arrivals: bool) -> np.ndarray:
    columns = data.arrivals if arrivals else data.service
    if process.queue >= columns.shape[1]:
        raise ValueError(
            f"{process.path}: queue {process.queue} is asked for, but the trace has queues 0 to "
            f"{columns.shape[1] - 1}."
        )
    return columns[:, process.queue]


def _code_modulators(
    modulators: Sequence[Modulator],
) -> tuple[list[tuple[int, Row]], list[tuple[float, float]]]:
    """Kind and constants of each modulator, and the phases that piecewise ones point to."""
    steps: list[tuple[float, float]] = []
    coded: list[tuple[int, Row]] = []
    for modulator in modulators:
        match modulator:
            case Piecewise(values=values):
                coded.append((PIECEWISE, (len(steps), len(values), modulator.period, 0.0)))
                steps += zip(modulator.starts, values, strict=True)
            case Periodic(period=period, amplitude=amplitude, phase=phase):
                coded.append((PERIODIC, (period, amplitude, phase, 0.0)))
            case OnOff(on=on, off=off, mean_on=mean_on, mean_off=mean_off):
                coded.append((ON_OFF, (on, off, 1 / mean_on, 1 / mean_off)))
            case Walk(low=low, step=step, cells=cells, every=every):
                coded.append((WALK, (low, step, cells, every)))
            case Adversarial(window=window, low=low):
                coded.append((ADVERSARIAL, (window, low, 0.0, 0.0)))
    return coded, steps


def _window(modulators: Sequence[Modulator]) -> int:
    windows = sorted({m.window for m in modulators if isinstance(m, Adversarial)})
    if len(windows) > 1:
        raise ValueError(
            f"a scenario has one adversary, but its window is {windows[0]} and {windows[1]}; give "
            "all queues the same."
        )
    return windows[0] if windows else 0


def _integers(rows: Sequence[Sequence[int]], width: int) -> np.ndarray:
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def _floats(rows: Sequence[Sequence[float]], width: int) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, width)
