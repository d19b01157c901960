"""The slot loop, compiled once for every scheduler.

A slot: the scheduler sees Q(t), gives probabilities p, an action a is drawn from p; then

    Q(t+1) = max(Q(t) - S(t) 1[a], 0) + A(t)

and the scheduler learns S_a(t) (or the departures min(Q_a, S_a)) and nothing else of S.
"""

import numba
import numpy as np
from numba import njit, types

from tenfold.envs.queues.draws import advance_rates, draw, read_record
from tenfold.envs.queues.fifo import pop, push
from tenfold.envs.queues.memory import empty_state, empty_sums
from tenfold.envs.queues.recovery import note_backlog
from tenfold.envs.queues.scheduling import PROBABILITIES, UPDATE, VECTOR
from tenfold.envs.queues.tables import (
    KIND,
    LOGNORMAL,
    PLACE,
    SHAPE_A,
    SHAPE_B,
    TRACE,
    compile_tables,
)

# numba needs an example of each record to name its type; no queues are enough.
_TABLES = compile_tables([])
RUN = types.void(
    numba.typeof(_TABLES),
    numba.typeof(empty_state(_TABLES, 0)),
    numba.typeof(empty_sums(0, 0)),
    types.FunctionType(PROBABILITIES),
    types.FunctionType(UPDATE),
    VECTOR,
    types.Array(types.float64, 2, "C"),
    types.Array(types.float64, 3, "C"),
    types.Array(types.float64, 2, "C"),
    types.int64,
    types.boolean,
    types.boolean,
    types.int64,
)


@njit(cache=True)
def choose(p, u):
    """The queue at which the sum of p exceeds u; rounding falls to the last one with p > 0."""
    total = 0.0
    last = 0
    for i in range(p.shape[0]):
        if p[i] > 0.0:
            last = i
            total += p[i]
            if u < total:
                break
    return last


@njit(RUN, cache=True)
def run(
    tables,
    state,
    sums,
    probabilities,
    update,
    params,
    memory,
    environment,
    actions,
    t0,
    tell_rates,
    learn_departures,
    curve_shift,
):
    """Run every replica through the slots for which there are random numbers.

    Args:
        tables: The scenario's constants.
        state: Advanced in place.
        sums: Advanced in place.
        probabilities: The scheduler's, see scheduling.py.
        update: The scheduler's.
        params: The scheduler's constants.
        memory: The scheduler's state (R, n), advanced in place.
        environment: Uniform numbers of arrivals and services (R, slots, draws).
        actions: Uniform numbers of the actions (R, slots).
        t0: The first slot.
        tell_rates: Write the true mean services into memory[:, 0:K] (oracles only).
        learn_departures: The scheduler learns min(Q, S) instead of S.
        curve_shift: A bin of the backlog curve is 2 ** curve_shift slots.
    """
    processes, constants, recorded = tables.processes, tables.constants, tables.recorded
    modulated, window = tables.modulators.shape[0] > 0, tables.window[0]
    R, n = actions.shape
    K = state.q.shape[1]
    p, amounts, record = np.empty(K), np.empty(K + 1), np.zeros(2 * K)
    # Rows are taken once a replica: views of arrays cost more than the arithmetic of a slot.
    for r in range(R):
        q, rates, arrivals = state.q[r], state.rates[r], state.arrivals[r]
        modulation, lately = state.modulation[r], state.lately[r]
        batches, ring = state.batches[r], state.ring[r]
        backlog, arrived, departed = sums.backlog[r], sums.arrived[r], sums.departed[r]
        served, delay, histogram = sums.served[r], sums.delay[r], sums.delay_histogram[r]
        curve, recovery = sums.curve[r], sums.recovery[r]
        own, uniform, u_action = memory[r], environment[r].reshape(-1), actions[r]
        wasted, largest, due = sums.wasted[r], sums.largest[r], 0.0
        a, service, departures = 0, 0.0, 0.0
        for s in range(n):
            t, start = t0 + s, s * tables.draws[0]
            switched = False
            if modulated and t >= due:
                switched, due = advance_rates(tables, uniform, start, modulation, lately, rates, t)
            if recorded.shape[0] > 0:
                read_record(tables, t, rates, record)
            if window > 0 and (t - 1) % window == 0:
                lately[:] = 0.0
            if tell_rates:
                for i in range(K):
                    own[i] = rates[K + i]
            probabilities(params, own, q, t, p)
            a = choose(p, u_action[s])
            for i in range(K + 1):
                j = i if i < K else K + a
                kind, at = processes[j, KIND], start + processes[j, PLACE]
                v = uniform[at + 1] if kind == LOGNORMAL else 0.0
                amounts[i] = draw(
                    kind, rates[j], constants[j, SHAPE_A], constants[j, SHAPE_B], uniform[at], v
                )
                if kind == TRACE:
                    amounts[i] = record[j]
            service = amounts[K]
            departures = min(q[a], service)
            update(params, own, q, p, a, departures if learn_departures else service, t)
            lately[a] += 1.0
            emptied = service >= q[a]
            q[a] = 0.0 if emptied else q[a] - service
            delay[a] += pop(batches, ring, a, t, departures, emptied, histogram)
            served[a] += 1.0
            departed[a] += departures
            wasted += service - departures
            total = 0.0
            for i in range(K):
                arrival = amounts[i]
                arrivals[i] = arrival
                if arrival > 0.0:
                    q[i] += arrival
                    arrived[i] += arrival
                    push(batches, ring, i, float(t), arrival)
                backlog[i] += q[i]
                total += q[i]
            curve[(t - 1) >> curve_shift] += total
            largest = max(largest, total)
            if modulated:
                note_backlog(recovery, total, switched)
        sums.wasted[r] = wasted
        sums.largest[r] = largest
        state.action[r], state.service[r], state.departures[r] = a, service, departures
