"""First in, first out: when the work that leaves a queue had come.

Each queue keeps batches (mean slot of arrival, work) in a ring of fixed size. As long as not more
slots' arrivals wait than the ring holds, a batch is one slot and delays are exact. When the ring is
full, batches of 2, then 4, 8 ... slots share a place (with the mean of their slots, weighted by
work): the mean delay stays right up to the order within a batch, and a delay's error stays below
2 / FIFO_CAPACITY of the time that the ring spans. An emptied queue starts again with single slots.

Work that arrives in slot t can leave in t + 1 at the earliest, with delay 1. With that, the sum of
all delays equals the sum over slots of the backlog after the slot: Little's law without remainder
but for the work that still waits.

`batches` is (K, FIFO_CAPACITY, 2) with slot and work of each batch, `ring` is int64 (K, 4) with the
place of the oldest batch, the number of batches, the slots that share one, and the most that ever
did; i is the queue.
"""

from numba import njit

from tenfold.envs.queues.memory import FIFO_CAPACITY, FINE

SLOT, WORK = 0, 1
HEAD, COUNT, WIDTH, COARSEST = 0, 1, 2, 3


@njit(cache=True)
def delay_bin(delay):
    """Index of the histogram's bin of a delay in slots."""
    whole = int(delay + 0.5)
    octave = 0
    while (whole >> octave) >= FINE:
        octave += 1
    return octave * (FINE // 2) + (whole >> octave)


@njit(cache=True)
def merge(batches, i, place, slot, work):
    """Add work of another slot to a batch."""
    together = batches[i, place, WORK] + work
    batches[i, place, SLOT] += (slot - batches[i, place, SLOT]) * work / together
    batches[i, place, WORK] = together


@njit(cache=True)
def coarsen(batches, ring, i):
    """Double the width of the batches until half of the ring is free."""
    head, count, width = ring[i, HEAD], ring[i, COUNT], ring[i, WIDTH]
    while count > FIFO_CAPACITY // 2:
        width *= 2
        kept = head
        for step in range(1, count):
            place = (head + step) % FIFO_CAPACITY
            slot, work = batches[i, place, SLOT], batches[i, place, WORK]
            if batches[i, kept, SLOT] // width == slot // width:
                merge(batches, i, kept, slot, work)
            else:
                kept = (kept + 1) % FIFO_CAPACITY
                batches[i, kept, SLOT] = slot
                batches[i, kept, WORK] = work
        count = (kept - head) % FIFO_CAPACITY + 1
    ring[i, COUNT], ring[i, WIDTH] = count, width
    ring[i, COARSEST] = max(ring[i, COARSEST], width)


@njit(cache=True)
def push(batches, ring, i, t, work):
    """Append the work that arrived at queue i in slot t."""
    if ring[i, COUNT] == 0:
        ring[i, HEAD], ring[i, WIDTH] = 0, 1
    elif ring[i, COUNT] == FIFO_CAPACITY:
        coarsen(batches, ring, i)
    width = ring[i, WIDTH]
    last = (ring[i, HEAD] + ring[i, COUNT] - 1) % FIFO_CAPACITY
    if width > 1 and batches[i, last, SLOT] // width == t // width:
        merge(batches, i, last, t, work)
        return
    last = (last + 1) % FIFO_CAPACITY
    batches[i, last, SLOT] = t
    batches[i, last, WORK] = work
    ring[i, COUNT] += 1


@njit(cache=True)
def pop(batches, ring, i, t, work, emptied, histogram):
    """Take work, the oldest first, out of queue i in slot t.

    With `emptied` all that is there goes, so that rounding leaves no dust behind. Adds to the
    histogram of delays; returns the sum of delay times work.
    """
    delays = 0.0
    head, count = ring[i, HEAD], ring[i, COUNT]
    while count > 0 and (emptied or work > 0.0):
        delay = t - batches[i, head, SLOT]
        leaving = batches[i, head, WORK]
        if emptied or leaving <= work:
            head = (head + 1) % FIFO_CAPACITY
            count -= 1
        else:
            leaving = work
            batches[i, head, WORK] -= leaving
        work -= leaving
        delays += delay * leaving
        histogram[delay_bin(delay)] += leaving
    ring[i, HEAD], ring[i, COUNT] = head, count
    return delays
