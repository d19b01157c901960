"""One step of W particle worlds, compiled: contact forces, velocities, places.

The order of every sum is that of mpe2, so that its numbers are met to the last bit. Arrays are
float64: places (W, E, 2) of all entities, velocities (W, A, 2) and forces (W, A, 2) of those that
move, which come first.
"""

import math

from numba import njit

DT = 0.1
DAMPING = 0.25
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 0.001


@njit(cache=True)
def distance(place, i, j):
    """Between two entities of one world."""
    x = place[i, 0] - place[j, 0]
    y = place[i, 1] - place[j, 1]
    return math.sqrt(x * x + y * y)


@njit(cache=True)
def log_one_plus_exp(x):
    """As NumPy's `logaddexp(0, x)` calculates it."""
    if x > 0.0:
        return x + math.log1p(math.exp(-x))
    return math.log1p(math.exp(x))


@njit(cache=True)
def advance(places, velocities, forces, sizes, collides, speed_limits, velocity_first):
    """Move all worlds by one step.

    Args:
        places: Changed in place.
        velocities: Changed in place.
        forces: What the agents want, changed in place to what acts on them.
        sizes: Radii (E,).
        collides: Whether an entity is solid (E,).
        speed_limits: Of each world's agents (W, A).
        velocity_first: Whether a place moves by the new velocity (legacy) or by the old (mpe2).
    """
    moving, entities = velocities.shape[1], places.shape[1]
    for w in range(places.shape[0]):
        place, velocity, force = places[w], velocities[w], forces[w]
        for a in range(moving):
            for b in range(a + 1, entities):
                if not (collides[a] and collides[b]):
                    continue
                gap = distance(place, a, b)
                deep = log_one_plus_exp(-(gap - (sizes[a] + sizes[b])) / CONTACT_MARGIN)
                deep *= CONTACT_MARGIN
                for axis in range(2):
                    push = CONTACT_FORCE * (place[a, axis] - place[b, axis]) / gap * deep
                    force[a, axis] = push + force[a, axis]
                    if b < moving:
                        force[b, axis] = -push + force[b, axis]
        for i in range(moving):
            if not velocity_first:
                for axis in range(2):
                    place[i, axis] += velocity[i, axis] * DT
            for axis in range(2):
                velocity[i, axis] = velocity[i, axis] * (1.0 - DAMPING) + force[i, axis] * DT
            speed = math.sqrt(velocity[i, 0] ** 2 + velocity[i, 1] ** 2)
            if speed > speed_limits[w, i]:
                for axis in range(2):
                    velocity[i, axis] = velocity[i, axis] / speed * speed_limits[w, i]
            if velocity_first:
                for axis in range(2):
                    place[i, axis] += velocity[i, axis] * DT
