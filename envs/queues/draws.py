"""Rates and amounts of one slot, compiled: modulators, and distributions by inversion.

Every random amount is a function of uniform numbers that NumPy's Generators drew in bulk: bulk
filling is the fastest way to them (measured: 3 ns a number against 5 ns from a Generator inside
compiled code), and since each process takes the same number of them in every slot, a scenario's
arrivals and services do not depend on the schedule, nor on how the slots are cut into calls.
"""

from math import ceil, cos, exp, inf, log, pi, sin, sqrt

from numba import njit

from tenfold.envs.queues.memory import DUE, VALUE
from tenfold.envs.queues.tables import (
    ADVERSARIAL,
    AMOUNT,
    BASE,
    BERNOULLI,
    KIND,
    LEVEL,
    LOGNORMAL,
    ON_OFF,
    PARETO,
    PERIODIC,
    PIECEWISE,
    PLACE,
    POISSON,
    PROCESS,
    RATE,
    SHAPE_A,
    SHAPE_B,
    SLOT,
    TRACE,
)


@njit(cache=True)
def poisson(rate, u):
    """The quantile of u in [0, 1); stops where adding further terms changes nothing."""
    k = 0
    term = exp(-rate)
    total = term
    while u >= total:
        k += 1
        term *= rate / k
        if total + term == total and k > rate:
            break
        total += term
    return float(k)


@njit(cache=True)
def draw(kind, rate, a, b, u, v):
    """One amount from a distribution with the constants a, b and the uniform numbers u, v."""
    if kind == BERNOULLI:
        return 1.0 if u < rate else 0.0
    if kind == POISSON:
        return poisson(rate, u)
    if kind == PARETO:
        return rate * a * (1.0 - u) ** b
    if kind == LOGNORMAL:
        return rate * exp(a * sqrt(-2.0 * log(1.0 - u)) * cos(2.0 * pi * v) + b)
    return rate  # deterministic


@njit(cache=True)
def geometric(leave, u):
    """Slots that a state lasts which is left with probability `leave` in each."""
    return max(1.0, ceil(log(1.0 - u) / log(1.0 - leave))) if leave < 1.0 else 1.0


@njit(cache=True)
def most_served(lately):
    """The first of the queues served most often, -1 if none was served."""
    most = 0
    for i in range(1, lately.shape[0]):
        if lately[i] > lately[most]:
            most = i
    return most if lately[most] > 0 else -1


@njit(cache=True)
def phase_of(steps, first, count, period, t):
    """Row in `steps` of the phase of slot t, and the slot at which the next one begins."""
    slot = t if period == 0 else (t - 1) % period + 1
    phase = first + count - 1
    while steps[phase, SLOT] > slot:
        phase -= 1
    if phase + 1 < first + count:
        return phase, t + steps[phase + 1, SLOT] - slot
    return phase, inf if period == 0 else t + period + 1.0 - slot


@njit(cache=True)
def modulate(kind, a, b, c, d, value, u, t):
    """Value from slot t on of a modulator that is due, and the slot at which it is due next."""
    if kind == PERIODIC:  # period, amplitude, phase
        return 1.0 + b * sin(2.0 * pi * ((t - 1) / a + c)), t + 1.0
    if kind == ON_OFF:  # on, off, probabilities of leaving them
        if t == 1:
            on = u < d / (c + d)
            u = u * (c + d) / d if on else (u * (c + d) - d) / c
        else:
            on = value != a
        return (a, t + geometric(c, u)) if on else (b, t + geometric(d, u))
    cell = float(round((value - a) / b))  # WALK: low, step, cells, every
    if t == 1:
        cell = float(int(u * (c + 1.0)))
    else:
        cell = min(c, cell + 1.0) if u < 0.5 else max(0.0, cell - 1.0)
    return a + b * cell, t + d


@njit(cache=True)
def advance_rates(tables, uniform, start, modulation, lately, rates, t):
    """Bring the modulated rates to slot t.

    Returns:
        Whether a declared switch took place, and the slot at which rates change next.
    """
    codes, constants, steps = tables.modulators, tables.mod_constants, tables.steps
    switched, due = False, inf
    for m in range(codes.shape[0]):
        kind, value = codes[m, KIND], modulation[m, VALUE]
        if t >= modulation[m, DUE]:
            a, b, c, d = constants[m, 0], constants[m, 1], constants[m, 2], constants[m, 3]
            if kind == PIECEWISE:
                phase, modulation[m, DUE] = phase_of(steps, int(a), int(b), int(c), t)
                modulation[m, VALUE] = steps[phase, LEVEL]
            elif kind == ADVERSARIAL:
                withdrawn = codes[m, PROCESS] - lately.shape[0] == most_served(lately)
                modulation[m, VALUE], modulation[m, DUE] = b if withdrawn else 1.0, t + a
            else:
                u = uniform[start + codes[m, PLACE]]
                modulation[m] = modulate(kind, a, b, c, d, value, u, t)
            if t > 1 and kind in (PIECEWISE, ADVERSARIAL):
                switched |= value != modulation[m, VALUE]
        due = min(due, modulation[m, DUE])
    for m in range(codes.shape[0]):
        rates[codes[m, PROCESS]] = tables.constants[codes[m, PROCESS], BASE]
    for m in range(codes.shape[0]):
        rates[codes[m, PROCESS]] *= modulation[m, VALUE]
    return switched, due


@njit(cache=True)
def read_record(tables, t, rates, record):
    """What traces say of slot t: amounts into `record`, means of their block into `rates`."""
    constants = tables.constants
    for j in range(rates.shape[0]):
        if tables.processes[j, KIND] == TRACE:
            row = int(constants[j, SHAPE_A]) + (t - 1) % int(constants[j, SHAPE_B])
            record[j] = constants[j, BASE] * tables.recorded[row, AMOUNT]
            rates[j] = constants[j, BASE] * tables.recorded[row, RATE]
