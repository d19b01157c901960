"""A user's POMDP as a finite-horizon task, with the same return distribution.

In a file an action brings the next state, an observation that may depend on the action, and a
reward that may depend on all of these; here an observation depends on the state alone, and a reward
on state and action. So the state remembers what is missing, and nothing else:

- which of a state's observation distributions the last action brought, where there are several;
- the last reward, where rewards depend on the next state, and the last observation where they
  depend on it too. Such a reward is paid a step later, so there is one more step at the end, whose
  action does not matter.

Before the first action nothing is observed: the first observation is always number 0.
"""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field

from tenfold.envs.risk.discount import tell
from tenfold.envs.risk.fields import Steps, check_size
from tenfold.envs.risk.pomdp import TabularPOMDP
from tenfold.envs.risk.pomdp_file import POMDPFile, read_pomdp
from tenfold.envs.risk.scale import Scale, say

Key = tuple[int, int, float]
"""A state that remembers: the state, its emission (or the observation), the reward due."""


def pomdp_of_file(
    path: str,
    H: Steps = 4,
    discounted: Annotated[
        bool, Field(description="Whether the file's discount makes later rewards count less")
    ] = False,
    discount: float = 1.0,
) -> TabularPOMDP:
    """The POMDP of a file in Cassandra's format; rewards are scaled to [0, 1], and this is said.

    Args:
        path: Of the file.
        H: Steps of an episode.
        discounted: Whether the file's discount counts.
        discount: One in its place.

    Raises:
        ValueError: The file does not make a POMDP, or one that is too large; two discounts.
    """
    if discounted and discount < 1.0:
        raise ValueError(
            f"'discount' is {discount:g} and env_config.discounted takes the file's: give one of "
            "them."
        )
    file = read_pomdp(path)
    scale = Scale.of(file.R[_possible(file)])
    say(
        f"'{path}': rewards from {scale.low:g} to {scale.low + scale.span:g} are scaled to 0 to 1 "
        f"for the learner, so a gamma g stands for g / {scale.span:g}; results are in the file's "
        "unit."
    )
    factor = file.discount if discounted else discount
    if factor < 1.0:
        tell(factor, H, max(abs(scale.low), abs(scale.low + scale.span)))
    return finite_horizon(file, H, scale, factor)


def finite_horizon(file: POMDPFile, H: int, scale: Scale, discount: float = 1.0) -> TabularPOMDP:
    """H steps of a POMDP, with scaled rewards.

    Args:
        file: The POMDP.
        H: Steps; there is one more where rewards are paid late.
        scale: Of the rewards.
        discount: Factor of each further step's reward.

    Raises:
        ValueError: The arrays would not fit into memory.
    """
    A, O = len(file.actions), len(file.observations)  # noqa: E741
    possible = _possible(file)
    known = _common(file.R, possible, (2, 3))  # r(a, s); NaN where it depends on what follows
    late = bool(np.isnan(known).any())
    by_sight = bool(np.isnan(_common(file.R, possible, (3,))).any())
    emissions, emission_of = _emissions(file)
    steps = H + late

    def follow(s: int, a: int) -> Iterator[tuple[Key, float]]:
        """What may come after an action in a state, with its probability."""
        for after, o in np.argwhere(possible[a, s]):
            due = float(file.R[a, s, after, o]) if late else scale.low
            sight = int(o if by_sight else emission_of[a, after])
            yield (int(after), sight, due), float(file.T[a, s, after] * file.O[a, after, o])

    starts = np.flatnonzero(file.start)
    keys: dict[Key, int] = {(int(s), 0, scale.low): i for i, s in enumerate(starts)}
    queue, moves = list(keys), []
    for i, (s, _, _) in enumerate(queue):
        for a in range(A):
            for key, p in follow(s, a):
                if key not in keys:
                    keys[key] = len(queue)
                    queue.append(key)
                    check_size(steps * A * O * len(queue) ** 2, H=H, states=len(queue), actions=A)
                moves.append((i, a, keys[key], p))
    Z = len(queue)
    move, see, pay = np.zeros((Z, A, Z)), np.zeros((Z, O)), np.zeros((Z, A))
    for i, a, j, p in moves:
        move[i, a, j] += p
    for i, (s, sight, due) in enumerate(queue):
        see[i] = np.eye(O)[sight] if by_sight else emissions[s][sight]
        pay[i] = scale.scaled(due if late else known[:, s])
    initial = np.zeros(Z)
    initial[: len(starts)] = file.start[starts]
    weights = discount ** np.arange(H)
    if late:
        weights = np.append(0.0, weights)  # nothing is due before the first action
    sees = np.repeat(see[None], steps, axis=0)
    sees[0] = np.eye(O)[0]
    return TabularPOMDP(
        np.repeat(move[None], steps, axis=0),
        sees,
        weights[:, None, None] * pay,
        initial,
        scale.unit(float(weights.sum())),
    )


def _possible(file: POMDPFile) -> np.ndarray:
    """Which (a, s, s', o) have a chance, (A, S, S, O) bool."""
    possible: np.ndarray = (file.T[..., None] > 0.0) & (file.O[:, None] > 0.0)
    return possible


def _common(rewards: np.ndarray, possible: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The one reward that is possible along some axes; NaN where there are several."""
    low = np.where(possible, rewards, np.inf).min(axis=axes)
    high = np.where(possible, rewards, -np.inf).max(axis=axes)
    common: np.ndarray = np.where(low < high, np.nan, low)
    return common


def _emissions(file: POMDPFile) -> tuple[list[np.ndarray], np.ndarray]:
    """The emission probabilities of each state, one row for each way that an action can bring them
    about, and which one an action brings, (A, S)."""
    emissions, emission_of = [], np.empty(file.O.shape[:2], dtype=np.int64)
    for s in range(len(file.states)):
        distinct, emission_of[:, s] = np.unique(file.O[:, s], axis=0, return_inverse=True)
        emissions.append(distinct)
    return emissions, emission_of
