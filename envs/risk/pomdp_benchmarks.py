"""The benchmark POMDPs of risk-sensitive learning with hindsight; their numbers are ours.

Tiger is after Cassandra, Kaelbling and Littman (1994): rewards are scaled to [0, 1], and since an
observation depends on the state alone, the tiger is heard whatever was done.
"""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tenfold.envs.risk.fields import Count, Instance, Share, Steps, check_size
from tenfold.envs.risk.names import POMDP_NAMES
from tenfold.envs.risk.pomdp import TabularPOMDP


def tiger(
    H: Steps = 4,
    accuracy: Annotated[Share, Field(description="Probability to hear the right side")] = 0.85,
) -> TabularPOMDP:
    """A tiger behind the left (0) or right (1) door; actions: listen, open left, open right.

    The tiger is heard at every step, on its side with probability `accuracy`. Listening pays 0.9,
    the free door 1 and the tiger's 0; after a door was opened the tiger is placed anew.
    """
    move = np.full((2, 3, 2), 0.5)
    move[:, 0] = np.eye(2)
    pay = np.array([[0.9, 0.0, 1.0], [0.9, 1.0, 0.0]])
    hears = np.array([[accuracy, 1.0 - accuracy], [1.0 - accuracy, accuracy]])
    return _stationary(move, hears, pay, np.array([0.5, 0.5]), H)


def treatment(
    H: Steps = 3,
    cure: Annotated[Share, Field(description="Probability that the strong drug cures")] = 0.65,
    noise: Annotated[Share, Field(description="Probability to see another level of health")] = 0.2,
) -> TabularPOMDP:
    """Health 0 (gone) to 3 (well), seen with noise; actions: wait, mild drug, strong drug.

    A state pays a third of its number a step. Waiting keeps the state or loses one, half and half;
    the mild drug keeps it with 0.9; the strong one brings health 3 with probability `cure` and 0
    else. Observations are low (0, 1), middle (2), high (3), another one with probability `noise`.
    """
    move = np.zeros((4, 3, 4))
    move[0, :, 0] = 1.0
    for s in range(1, 4):
        for a, keeps in ((0, 0.5), (1, 0.9)):
            move[s, a, s], move[s, a, s - 1] = keeps, 1.0 - keeps
        move[s, 2, 3], move[s, 2, 0] = cure, 1.0 - cure
    sees = np.full((4, 3), noise / 2)
    sees[np.arange(4), [0, 0, 1, 2]] = 1.0 - noise
    pay = np.repeat(np.arange(4)[:, None] / 3.0, 3, axis=1)
    return _stationary(move, sees, pay, np.array([0.0, 1 / 3, 1 / 3, 1 / 3]), H)


def combination_lock(
    H: Annotated[Steps, Field(ge=2)] = 4,
    noise: Annotated[Share, Field(description="Probability that the sensor errs")] = 0.1,
) -> TabularPOMDP:
    """On the path (0), lost (1) or open (2); only the right action of each step stays on the path.

    The last step pays 1 when the lock is open; being lost pays 0.5 / (H - 1) at each step, which
    lures. The sensor tells the path from the rest and errs with probability `noise`.
    """
    move, pay = np.zeros((H, 3, 2, 3)), np.zeros((H, 3, 2))
    for h in range(H):
        right = h % 2
        move[h, 0, right, 2 if h == H - 2 else 0] = 1.0
        move[h, 0, 1 - right, 1] = 1.0
        move[h, 1:, :, 1:] = np.eye(2)[:, None]
        pay[h, 1] = 0.5 / (H - 1)
    pay[H - 1, 2] = 1.0
    sees = np.array([[1.0 - noise, noise], [noise, 1.0 - noise], [noise, 1.0 - noise]])
    return TabularPOMDP(move, np.repeat(sees[None], H, axis=0), pay, np.array([1.0, 0.0, 0.0]))


def random_pomdp(
    H: Steps = 4,
    S: Annotated[Count, Field(description="Hidden states")] = 4,
    A: Annotated[Count, Field(description="Actions")] = 2,
    O: Annotated[Count, Field(description="Observations")] = 3,  # noqa: E741
    instance: Instance = 0,
) -> TabularPOMDP:
    """Probabilities from flat Dirichlets and rewards uniform in [0, 1], drawn from `instance`."""
    check_size(H * A * O * S * S, H=H, S=S, A=A, O=O)
    rng = np.random.default_rng([402, 18149, instance])
    return TabularPOMDP(
        rng.dirichlet(np.ones(S), size=(H, S, A)),
        rng.dirichlet(np.ones(O), size=(H, S)),
        rng.random((H, S, A)),
        rng.dirichlet(np.ones(S)),
    )


BUILDERS: dict[str, Callable[..., TabularPOMDP]] = dict(
    zip(POMDP_NAMES, (tiger, treatment, combination_lock, random_pomdp), strict=True)
)


def make_pomdp(name: str, **fields: Any) -> TabularPOMDP:
    """A benchmark by name.

    Args:
        name: Of `POMDP_NAMES`.
        fields: Arguments of its function that differ from their defaults, of the types and within
            the bounds that its signature says.

    Raises:
        ValueError: No such benchmark, or fields that together do not make a POMDP.
    """
    if name not in BUILDERS:
        raise ValueError(f"No POMDP '{name}': choose one of {', '.join(BUILDERS)}.")
    return BUILDERS[name](**fields)


def _stationary(
    move: np.ndarray, sees: np.ndarray, pay: np.ndarray, initial: np.ndarray, H: int
) -> TabularPOMDP:
    """The same probabilities and rewards at every step."""
    transitions, emissions, rewards = (
        np.repeat(each[None], H, axis=0) for each in (move, sees, pay)
    )
    return TabularPOMDP(transitions, emissions, rewards, initial)
