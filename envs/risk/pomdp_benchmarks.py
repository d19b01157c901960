"""The benchmark POMDPs of risk-sensitive learning with hindsight; their numbers are ours.

Tiger is after Cassandra, Kaelbling and Littman (1994): rewards are scaled to [0, 1], and since an
observation depends on the state alone, the tiger is heard whatever was done.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tenfold.envs.risk.pomdp import TabularPOMDP
from tenfold.envs.risk.pomdp_names import POMDP_NAMES


def tiger(H: int = 4, accuracy: float = 0.85) -> TabularPOMDP:
    """A tiger behind the left (0) or right (1) door; actions: listen, open left, open right.

    The tiger is heard at every step, on its side with probability `accuracy`. Listening pays 0.9,
    the free door 1 and the tiger's 0; after a door was opened the tiger is placed anew.
    """
    _check_fraction("accuracy", accuracy)
    move = np.full((2, 3, 2), 0.5)
    move[:, 0] = np.eye(2)
    pay = np.array([[0.9, 0.0, 1.0], [0.9, 1.0, 0.0]])
    hears = np.array([[accuracy, 1.0 - accuracy], [1.0 - accuracy, accuracy]])
    return _stationary(move, hears, pay, np.array([0.5, 0.5]), H)


def treatment(H: int = 3, cure: float = 0.65, noise: float = 0.2) -> TabularPOMDP:
    """Health 0 (gone) to 3 (well), seen with noise; actions: wait, mild drug, strong drug.

    A state pays a third of its number a step. Waiting keeps the state or loses one, half and half;
    the mild drug keeps it with 0.9; the strong one brings health 3 with probability `cure` and 0
    else. Observations are low (0, 1), middle (2), high (3), another one with probability `noise`.
    """
    _check_fraction("cure", cure)
    _check_fraction("noise", noise)
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


def combination_lock(H: int = 4, noise: float = 0.1) -> TabularPOMDP:
    """On the path (0), lost (1) or open (2); only the right action of each step stays on the path.

    The last step pays 1 when the lock is open; being lost pays 0.5 / (H - 1) at each step, which
    lures. The sensor tells the path from the rest and errs with probability `noise`.
    """
    _check_fraction("noise", noise)
    if H < 2:
        raise ValueError(f"Bad value {H} for 'H': give at least 2.")
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
    H: int = 4,
    S: int = 4,
    A: int = 2,
    O: int = 3,  # noqa: E741
    instance: int = 0,
) -> TabularPOMDP:
    """Laws from flat Dirichlets and rewards uniform in [0, 1], drawn from `instance`."""
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
        fields: Arguments of its function that differ from their defaults.

    Raises:
        ValueError: No such benchmark or field, or values that make no POMDP.
    """
    if name not in BUILDERS:
        raise ValueError(f"No POMDP '{name}': choose one of {', '.join(BUILDERS)}.")
    maker = BUILDERS[name]
    known = maker.__code__.co_varnames[: maker.__code__.co_argcount]
    for field, value in fields.items():
        if field not in known:
            raise ValueError(f"'{name}' has no field '{field}': choose one of {', '.join(known)}.")
        if known and field in ("H", "S", "A", "O") and (not isinstance(value, int) or value < 1):
            raise ValueError(f"Bad value {value!r} for '{field}': give a whole number above 0.")
    return maker(**fields)


def _check_fraction(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"Bad value {value} for '{name}': give a number from 0 to 1.")


def _stationary(
    move: np.ndarray, sees: np.ndarray, pay: np.ndarray, initial: np.ndarray, H: int
) -> TabularPOMDP:
    """The same laws and rewards at every step."""
    transitions, emissions, rewards = (np.repeat(law[None], H, axis=0) for law in (move, sees, pay))
    return TabularPOMDP(transitions, emissions, rewards, initial)
