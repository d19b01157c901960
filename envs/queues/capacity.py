"""What a switching policy can carry: the load of declared queues, by linear programming.

A switching policy serves queue i in a fraction theta_k(i) of the slots of phase k, where a phase is
a set of service rates that holds a fraction w_k of the time. It carries arrivals lambda if

    sum_k w_k theta_k(i) mu_k(i) >= lambda_i  for all i,     sum_i theta_k(i) <= 1  for all k.

The *capacity* is the largest rho for which rho * lambda can be carried; the *load* is 1 / rho:
below load 1 some policy that knows the phases is stable, above it none is. Whether a rate lasts
long enough to be tracked does not enter; lambda and w are averages over time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np
from scipy import sparse
from scipy.optimize import linprog
from scipy.stats import qmc

from tenfold.envs.queues.processes import (
    Adversarial,
    Modulated,
    Modulator,
    OnOff,
    Periodic,
    Piecewise,
    Process,
    Queue,
    Trace,
    Walk,
)
from tenfold.envs.queues.trace import RATE_BLOCK, block_means, read_trace

POINTS = 1024  # phases by which continuous or random rates are replaced
LONGEST_CYCLE = 10**7  # slots over which rates are averaged at most


@dataclass(frozen=True)
class Phases:
    """Average arrivals, and the service rates that occur together.

    Attributes:
        weights: Fraction of the time of each phase (n,).
        services: Mean service of each queue in each phase (n, K).
        arrivals: Time-average mean arrivals (K,).
    """

    weights: np.ndarray
    services: np.ndarray
    arrivals: np.ndarray


@dataclass(frozen=True)
class Allocation:
    """A switching policy with its value.

    Attributes:
        value: The capacity rho, or the slack eps.
        theta: Probabilities of the queues in each phase (n, K).
    """

    value: float
    theta: np.ndarray


def capacity(phases: Phases) -> Allocation:
    """The largest rho such that rho times the arrivals can be carried."""
    return _best(phases, np.zeros_like(phases.arrivals), phases.arrivals)


def slack(phases: Phases) -> Allocation:
    """The largest eps such that each queue can get eps more service than arrives; < 0: overload."""
    return _best(phases, phases.arrivals, np.ones_like(phases.arrivals))


def load(queues: Sequence[Queue], horizon: int) -> float:
    """Load of the queues: 1 is the boundary of what switching policies can carry."""
    return 1.0 / capacity(find_phases(queues, horizon)).value


def _best(phases: Phases, fixed: np.ndarray, growing: np.ndarray) -> Allocation:
    """Maximise x subject to service_i >= fixed_i + x growing_i, over theta and x."""
    n, K = phases.services.shape
    weighted = (phases.weights[:, None] * phases.services).ravel()
    queue = np.tile(np.arange(K), n)
    service = sparse.csr_array((weighted, (queue, np.arange(n * K))), shape=(K, n * K))
    one_server = sparse.kron(sparse.eye_array(n), np.ones((1, K)))  # (n, n K)
    column = sparse.csr_array(np.append(growing, np.zeros(n)).reshape(-1, 1))
    solution = linprog(
        c=np.append(np.zeros(n * K), -1.0),
        A_ub=sparse.hstack([sparse.vstack([-service, one_server]), column]).tocsr(),
        b_ub=np.append(-fixed, np.ones(n)),
        bounds=[(0, None)] * (n * K) + [(None, None)],
    )
    if not solution.success:
        raise ValueError(f"the capacity is not defined ({solution.message}): does work arrive?")
    return Allocation(float(solution.x[-1]), solution.x[:-1].reshape(n, K))


def find_phases(queues: Sequence[Queue], horizon: int) -> Phases:
    """The phases of declared queues.

    Rates that repeat are averaged over their common cycle, others over the horizon. Piecewise and
    recorded rates give exact phases; if rates are periodic, or services random, a low-discrepancy
    sample of POINTS phases stands for all (random modulators are independent, each in its
    stationary distribution). An adversary withdraws each queue for the same time, as it does when
    each gets the same service.
    """
    arrivals, services = [q.arrivals for q in queues], [q.service for q in queues]
    random = [m for process in services for m in _modulators(process, OnOff, Walk)]
    slots, weights, sample = _sample_slots([*arrivals, *services], len(random), horizon)
    levels = iter([_quantile(m, sample[:, i]) for i, m in enumerate(random)])
    mean_arrivals = [
        weights
        @ _rate(process, slots, arrivals=True)
        * np.prod([_mean(m) for m in _modulators(process, OnOff, Walk)])
        for process in arrivals
    ]
    mean_services = [
        _rate(process, slots, arrivals=False)
        * np.prod([next(levels) for _ in _modulators(process, OnOff, Walk)], axis=0)
        for process in services
    ]
    mu = np.stack(mean_services, axis=1)
    if any(True for process in services for _ in _modulators(process, Adversarial)):
        weights, mu = _withdraw(weights, mu, services)
    return Phases(weights, mu, np.array(mean_arrivals))


def _modulators(process: Process, *kinds: type) -> list[Modulator]:
    modulators = process.modulators if isinstance(process, Modulated) else ()
    return [modulator for modulator in modulators if isinstance(modulator, kinds)]


def _sample_slots(
    processes: Sequence[Process], random: int, horizon: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slots (n,), the fraction of time each stands for (n,), uniform numbers (n, random)."""
    schedules = [_schedule(process) for process in processes if isinstance(process, Trace)]
    steps = [m for process in processes for m in _modulators(process, Piecewise)]
    schedules += [(m.starts, m.period) for m in steps if isinstance(m, Piecewise)]
    waves = [m for process in processes for m in _modulators(process, Periodic)]
    periods = [period for _, period in schedules]
    periods += [m.period for m in waves if isinstance(m, Periodic)]
    span = horizon if 0 in periods else min(lcm(*periods), LONGEST_CYCLE)
    if waves or random:
        points = qmc.Sobol(1 + random, rng=0).random(POINTS)
        return np.floor(points[:, 0] * span) + 1, np.full(POINTS, 1 / POINTS), points[:, 1:]
    breaks = np.unique(
        np.concatenate(
            [[1]]
            + [
                (np.array(starts) + np.arange(0, span, period or span)[:, None]).ravel()
                for starts, period in schedules
            ]
        )
    )
    breaks = breaks[breaks <= span]
    return breaks, np.diff(breaks, append=span + 1) / span, np.empty((len(breaks), 0))


def _schedule(trace: Trace) -> tuple[Sequence[int], int]:
    """First slots of the blocks over which a trace's rate is constant, and its length."""
    length = len(read_trace(trace.path).service)
    return range(1, length + 1, RATE_BLOCK), length


def _rate(process: Process, slots: np.ndarray, arrivals: bool) -> np.ndarray:
    """What is not random about a process's rate, at some slots."""
    if isinstance(process, Trace):
        data = read_trace(process.path)
        rate = block_means((data.arrivals if arrivals else data.service)[:, process.queue])
        return process.scale * rate[((slots - 1) % len(rate)).astype(int)]
    level = np.full(len(slots), process.base)
    for modulator in process.modulators:
        if isinstance(modulator, Piecewise):
            place = (slots - 1) % modulator.period + 1 if modulator.period else slots
            phase = np.searchsorted(modulator.starts, place, side="right") - 1
            level = level * np.array(modulator.values)[phase]
        elif isinstance(modulator, Periodic):
            angle = 2 * np.pi * ((slots - 1) / modulator.period + modulator.phase)
            level = level * (1 + modulator.amplitude * np.sin(angle))
    return level


def _quantile(modulator: Modulator, u: np.ndarray) -> np.ndarray:
    """Values of a random modulator in its stationary distribution."""
    if isinstance(modulator, OnOff):
        return np.where(u < modulator.fraction_on, modulator.on, modulator.off)
    assert isinstance(modulator, Walk)
    return modulator.low + modulator.step * np.floor(u * (modulator.cells + 1))


def _mean(modulator: Modulator) -> float:
    """Mean of a random modulator in its stationary distribution."""
    if isinstance(modulator, OnOff):
        on = modulator.fraction_on
        return on * modulator.on + (1 - on) * modulator.off
    assert isinstance(modulator, Walk)
    return (modulator.low + modulator.high) / 2


def _withdraw(
    weights: np.ndarray, mu: np.ndarray, services: Sequence[Process]
) -> tuple[np.ndarray, np.ndarray]:
    """Each phase once for each queue that the adversary may have withdrawn."""
    copies = []
    for i, process in enumerate(services):
        copy = mu.copy()
        for modulator in _modulators(process, Adversarial):
            assert isinstance(modulator, Adversarial)
            copy[:, i] *= modulator.low
        copies.append(copy)
    K = len(services)
    return np.tile(weights, K) / K, np.concatenate(copies)
