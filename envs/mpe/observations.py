"""What the agents of the particle worlds see, compiled.

Own velocity (2) and place (2), then relative to oneself every landmark (2 each) and every other
agent (2 each), then a tail: in spread and six_landmarks what the other agents say (4 zeros, they
are silent); in tag and world the prey's velocity (2, predators only); in world which of the two
forests one is in (1 or -1 each).

In mpe2 an agent of world that is not the leader sees others as (0, 0) unless they share a forest or
are both in none. In OMAR's fork all are leaders, so nobody hides.
"""

from numba import njit

from tenfold.envs.mpe.physics import distance
from tenfold.envs.mpe.scenarios import FORESTS, TAG, WORLD


@njit(cache=True)
def observe(seen, places, velocities, sizes, kind, first, hiding):
    """Write the observations of agents first, first + 1, ...

    Args:
        seen: Written, float32 (W, agents, o).
        places: Places (W, E, 2).
        velocities: Velocities (W, A, 2).
        sizes: Radii (E,).
        kind: The world's number, see `scenarios`.
        first: The first agent to observe.
        hiding: Whether forests hide.
    """
    moving, entities = velocities.shape[1], places.shape[1]
    prey = moving - 1
    for w in range(places.shape[0]):
        place, velocity = places[w], velocities[w]
        for row in range(seen.shape[1]):
            i, out = first + row, seen[w, row]
            for axis in range(2):
                out[axis] = velocity[i, axis]
                out[2 + axis] = place[i, axis]
            k = 4
            for entity in range(moving, entities):
                for axis in range(2):
                    out[k + axis] = place[entity, axis] - place[i, axis]
                k += 2
            for other in range(moving):
                if other == i:
                    continue
                seen_there = not hiding or is_visible(place, sizes, i, other)
                for axis in range(2):
                    out[k + axis] = place[other, axis] - place[i, axis] if seen_there else 0.0
                k += 2
            if kind in (TAG, WORLD) and i != prey:
                seen_there = not hiding or is_visible(place, sizes, i, prey)
                for axis in range(2):
                    out[k + axis] = velocity[prey, axis] if seen_there else 0.0
                k += 2
            if kind == WORLD:
                for forest in range(FORESTS):
                    out[k + forest] = 1.0 if is_in_forest(place, i, forest, sizes) else -1.0
                k += FORESTS
            out[k:] = 0.0


@njit(cache=True)
def is_in_forest(place, i, forest, sizes):
    """Whether an agent overlaps with a forest of world; forests are the last entities."""
    entity = place.shape[0] - FORESTS + forest
    return distance(place, i, entity) < sizes[i] + sizes[entity]


@njit(cache=True)
def is_visible(place, sizes, i, other):
    """Whether agent i sees another one: they share a forest, or are in none, or i leads."""
    covered = False
    for forest in range(FORESTS):
        one = is_in_forest(place, i, forest, sizes)
        two = is_in_forest(place, other, forest, sizes)
        if one and two:
            return True
        covered = covered or one or two
    return not covered or i == 0
