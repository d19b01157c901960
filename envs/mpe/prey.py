"""The prey of tag and world: a fixed rule from what it observes to an action.

The published data sets froze a prey that was trained with the predators; its weights are not
public. Ours is scripted, so that it is the same on every machine and part of the world. It runs
from predators within its reach, the more the nearer they are, keeps from obstacles and from the
border of the square [-1, 1] x [-1, 1], and is drawn to the centre, in world to the nearer food
too. Its vigour, the most force that it spends in a direction, is set by return: with it scripted
chasers score about what the published experts do (tag 208, world 85).
"""

import math

import numpy as np
from numba import njit

from tenfold.envs.mpe.scenarios import FOOD, TAG, WORLD

VIGOUR = {TAG: 1.1, WORLD: 1.3}
PREDATORS = 3
REACH = 0.3
FLIGHT = 0.35
BORDER, STIFFNESS = 0.8, 8.0  # where the square's border begins to push, and how hard
OBSTACLE = 0.05
HOMING = 0.5
APPETITE = 0.2
NEAR = 0.05  # below this distance a push grows no further


@njit(cache=True)
def flee(actions, seen, kind, limit):
    """Write the prey's actions.

    Args:
        actions: Written, float32 (W, 2).
        seen: The prey's observations, float32 (W, o).
        kind: The world's number, see `scenarios`.
        limit: The most of an action in a direction: vigour over what an action of 1 is worth.
    """
    landmarks = (seen.shape[1] - 4) // 2 - PREDATORS - (1 if kind == WORLD else 0)
    solid = 1 if kind == WORLD else landmarks
    want = np.empty(2)
    for w in range(seen.shape[0]):
        look = seen[w]
        for axis in range(2):
            beyond = max(abs(look[2 + axis]) - BORDER, 0.0)
            want[axis] = -STIFFNESS * math.copysign(beyond, look[2 + axis])
            want[axis] -= HOMING * look[2 + axis]
        for predator in range(landmarks, landmarks + PREDATORS):
            if length(look, 4 + 2 * predator) < REACH:
                push_away(want, look, 4 + 2 * predator, FLIGHT)
        for obstacle in range(solid):
            push_away(want, look, 4 + 2 * obstacle, OBSTACLE)
        if kind == WORLD:
            near = 4 + 2 * solid
            for food in range(solid, solid + FOOD):
                if length(look, 4 + 2 * food) < length(look, near):
                    near = 4 + 2 * food
            gap = max(length(look, near), NEAR)
            for axis in range(2):
                want[axis] += APPETITE * look[near + axis] / gap
        for axis in range(2):
            actions[w, axis] = min(max(want[axis], -limit), limit)


@njit(cache=True)
def length(look, k):
    """Of the vector that begins at number k of an observation."""
    return math.sqrt(look[k] * look[k] + look[k + 1] * look[k + 1])


@njit(cache=True)
def push_away(want, look, k, strength):
    """Add a push away from what is seen at number k, by the inverse square of its distance."""
    gap = max(length(look, k), NEAR)
    for axis in range(2):
        want[axis] -= strength * look[k + axis] / gap**3
