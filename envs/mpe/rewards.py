"""Rewards of the particle worlds after a step, compiled, in both variants.

`omar` is the OMAR fork's, shaped, which the published data sets were made with; `mpe2` is mpe2
1.1.1's. Arrays are as in `physics`.
"""

import math

from numba import njit

from tenfold.envs.mpe.physics import distance
from tenfold.envs.mpe.scenarios import SIX, SPREAD, WORLD

LOCAL_RATIO = 0.5  # mpe2's share of the collisions in the reward of spread
TOUCH_TAG, TOUCH_WORLD = 10.0, 5.0
CLOSEST = 10.0  # the most that being close to a landmark gives in a step
NO_LANDMARK = 1e6  # how far an unavailable landmark is


@njit(cache=True)
def count_touches(place, i, first, last, sizes):
    """How many of the entities first, ..., last - 1 entity i overlaps with, without itself."""
    touches = 0
    for other in range(first, last):
        if other != i and distance(place, i, other) < sizes[i] + sizes[other]:
            touches += 1
    return touches


@njit(cache=True)
def nearest(place, i, first, last):
    """Distance of entity i to the nearest of first, ..., last - 1."""
    best = math.inf
    for other in range(first, last):
        best = min(best, distance(place, i, other))
    return best


@njit(cache=True)
def give_rewards(rewards, places, sizes, kind, omar, available):
    """Write each learned agent's reward.

    Args:
        rewards: Written, float64 (W, n).
        places: Places (W, E, 2).
        sizes: Radii (E,).
        kind: The world's number, see `scenarios`.
        omar: Whether the OMAR fork's reward is meant.
        available: Which landmarks of the six-landmark world count, bool (W, 6).
    """
    n = rewards.shape[1]
    for w in range(places.shape[0]):
        place = places[w]
        if kind == SPREAD:
            spread(rewards[w], place, sizes, n, omar)
        elif kind == SIX:
            six_landmarks(rewards[w], place, sizes, n, available[w])
        else:
            touch = TOUCH_WORLD if kind == WORLD else TOUCH_TAG
            chase(rewards[w], place, sizes, n, omar, kind == WORLD and not omar, touch)


@njit(cache=True)
def spread(reward, place, sizes, n, omar):
    """Cooperative navigation: each landmark wants an agent near it, and nobody a collision."""
    common = 0.0
    for landmark in range(n, place.shape[0]):
        gap = nearest(place, landmark, 0, n)
        common += min(1.0 / gap, CLOSEST) if omar else -gap
    for i in range(n):
        collisions = count_touches(place, i, 0, n, sizes)
        if omar:
            reward[i] = common - 5.0 * collisions
        else:
            reward[i] = common * (1.0 - LOCAL_RATIO) - collisions * LOCAL_RATIO


@njit(cache=True)
def six_landmarks(reward, place, sizes, n, available):
    """Each agent wants a landmark near it that counts; a collision costs its own 15."""
    common = 0.0
    for i in range(n):
        gap = NO_LANDMARK
        for k in range(available.shape[0]):
            if available[k]:
                gap = min(gap, distance(place, i, n + k))
        common += min(1.0 / gap, CLOSEST)
    for i in range(n):
        reward[i] = common - 15.0 * count_touches(place, i, 0, n, sizes)


@njit(cache=True)
def chase(reward, place, sizes, n, omar, own_distance, touch):
    """Predators share what touching the prey gives, and are the better off the nearer they are.

    OMAR's fork counts the distances of all, mpe2 one's own in world (`own_distance`) and none in
    tag. The order of the sums is mpe2's.
    """
    shared = 0.0
    if omar:
        for i in range(n):
            shared -= 0.1 * distance(place, n, i)
    touches = count_touches(place, n, 0, n, sizes)
    for i in range(n):
        reward[i] = shared
        if own_distance:
            reward[i] -= 0.1 * distance(place, n, i)
        for _ in range(touches):
            reward[i] += touch
