"""Everything of a batch of replicas that changes: queues, modulators, FIFO order, streamed sums.

The size does not depend on the number of slots. Arrays are float64 but where int64 is said; R
replicas, K queues, P = 2K processes, m modulators.
"""

from typing import NamedTuple

import numpy as np

from tenfold.envs.queues.recovery import COLUMNS, SINCE
from tenfold.envs.queues.tables import BASE, Tables

FIFO_CAPACITY = 512  # batches of work remembered for each queue, see fifo.py
CURVE_POINTS = 1000  # bins of the backlog curve; their width doubles when they are used up
FINE = 128  # delays below are counted one by one, longer ones in FINE / 2 bins an octave
HISTOGRAM_BINS = FINE + FINE // 2 * 40

VALUE, DUE = 0, 1  # columns of `State.modulation`


class State(NamedTuple):
    """What the trajectory depends on, and the last slot's outcome.

    Attributes:
        q: Queue lengths (R, K), in work units.
        rates: True mean arrivals and services of the present slot (R, P).
        modulation: Value of each modulator, and the slot at which it changes next (R, m, 2).
        lately: Slots of service in the adversary's present window (R, K).
        batches: Slot of arrival and size of each batch of work (R, K, FIFO_CAPACITY, 2).
        ring: int64 (R, K, 4), where they are, see fifo.py.
        arrivals: Of the last slot (R, K).
        action: int64 (R,), the queue that was served in the last slot.
        service: Offered by it in the last slot (R,).
        departures: What really left (R,).
    """

    q: np.ndarray
    rates: np.ndarray
    modulation: np.ndarray
    lately: np.ndarray
    batches: np.ndarray
    ring: np.ndarray
    arrivals: np.ndarray
    action: np.ndarray
    service: np.ndarray
    departures: np.ndarray


class Sums(NamedTuple):
    """Streamed sums, from which metrics.py computes the metrics.

    Attributes:
        backlog: Sum over slots of the queue lengths after the slot (R, K).
        arrived: Work that arrived (R, K).
        departed: Work that left (R, K).
        served: Slots of service (R, K).
        delay: Sum of delay times work over the work that left (R, K).
        wasted: Offered service of the chosen queue beyond what was there (R,).
        largest: Largest total backlog (R,).
        delay_histogram: Work that left by delay (R, HISTOGRAM_BINS).
        curve: Sum of the total backlog in each bin of slots (R, CURVE_POINTS).
        recovery: See recovery.py (R, 8).
    """

    backlog: np.ndarray
    arrived: np.ndarray
    departed: np.ndarray
    served: np.ndarray
    delay: np.ndarray
    wasted: np.ndarray
    largest: np.ndarray
    delay_histogram: np.ndarray
    curve: np.ndarray
    recovery: np.ndarray


def empty_state(tables: Tables, R: int) -> State:
    """Empty queues, before slot 1."""
    P, m = len(tables.processes), len(tables.modulators)
    K = P // 2
    return State(
        q=np.zeros((R, K)),
        rates=np.tile(tables.constants[:, BASE], (R, 1)),
        modulation=np.ones((R, m, 2)),
        lately=np.zeros((R, K)),
        batches=np.zeros((R, K, FIFO_CAPACITY, 2)),
        ring=np.tile(np.array([0, 0, 1, 1]), (R, K, 1)),
        arrivals=np.zeros((R, K)),
        action=np.zeros(R, dtype=np.int64),
        service=np.zeros(R),
        departures=np.zeros(R),
    )


def empty_sums(R: int, K: int) -> Sums:
    """Nothing counted yet."""
    sums = Sums(
        **{name: np.zeros((R, K)) for name in Sums._fields[:5]},
        wasted=np.zeros(R),
        largest=np.zeros(R),
        delay_histogram=np.zeros((R, HISTOGRAM_BINS)),
        curve=np.zeros((R, CURVE_POINTS)),
        recovery=np.zeros((R, COLUMNS)),
    )
    sums.recovery[:, SINCE] = -1
    return sums
