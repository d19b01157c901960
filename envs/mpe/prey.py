"""The prey of tag and world: a fixed rule from what it observes to an action.

The published data sets froze a prey that was trained with the predators; its weights are not
public. Ours is scripted, so that it is the same on every machine and part of the world: it is
driven away from each predator by the inverse square of the distance, back from the border of the
square [-1, 1] x [-1, 1], away from obstacles, and in world toward the nearer food. Its strength
was set by return: random predators score about the published -4.1 (tag) and -6.8 (world).
"""

import math

from numba import njit

from tenfold.envs.mpe.scenarios import FOOD, WORLD

PREDATORS = 3
STRENGTH = 0.35  # of the flight
BORDER, STIFFNESS = 0.8, 8.0  # where the square's border begins to push, and how hard
OBSTACLE = 0.05
APPETITE = 0.2
NEAR = 0.05  # below this distance a push grows no further


@njit(cache=True)
def flee(actions, seen, kind):
    """Write the prey's actions.

    Args:
        actions: Written, float32 (W, 2), in [-1, 1].
        seen: The prey's observations, float32 (W, o).
        kind: The world's number, see `scenarios`.
    """
    landmarks = (seen.shape[1] - 4) // 2 - PREDATORS - (1 if kind == WORLD else 0)
    solid = 1 if kind == WORLD else landmarks
    for w in range(seen.shape[0]):
        look = seen[w]
        for axis in range(2):
            beyond = max(abs(look[2 + axis]) - BORDER, 0.0)
            actions[w, axis] = -STIFFNESS * math.copysign(beyond, look[2 + axis])
        for predator in range(landmarks, landmarks + PREDATORS):
            push_away(actions[w], look, 4 + 2 * predator, STRENGTH)
        for obstacle in range(solid):
            push_away(actions[w], look, 4 + 2 * obstacle, OBSTACLE)
        if kind == WORLD:
            near = 4 + 2 * solid
            for food in range(solid, solid + FOOD):
                if length(look, 4 + 2 * food) < length(look, near):
                    near = 4 + 2 * food
            gap = max(length(look, near), NEAR)
            for axis in range(2):
                actions[w, axis] += APPETITE * look[near + axis] / gap
        for axis in range(2):
            actions[w, axis] = min(max(actions[w, axis], -1.0), 1.0)


@njit(cache=True)
def length(look, k):
    """Of the vector that begins at number k of an observation."""
    return math.sqrt(look[k] * look[k] + look[k + 1] * look[k + 1])


@njit(cache=True)
def push_away(action, look, k, strength):
    """Add a push away from what is seen at number k, by the inverse square of its distance."""
    gap = max(length(look, k), NEAR)
    for axis in range(2):
        action[axis] -= strength * look[k + axis] / gap**3
