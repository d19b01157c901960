"""The benchmark tasks of iterated CVaR, each an exactly defined linear mixture.

A task is P_h = sum_i theta_{h,i} P^i over known base kernels P^1..P^d with theta_h on the simplex,
so every learner (linear, finite class, tabular) can meet every task. The specification gives the
risky shortcut and the random mixture; the lower-bound instance is our reading of its one line.
"""

import inspect
from collections.abc import Callable

import numpy as np

from tenfold.envs.risk.measures import check_alpha
from tenfold.envs.risk.mixture import Mixture, check_steps, mixture
from tenfold.envs.risk.names import TASK_NAMES
from tenfold.envs.risk.worlds import frozen_lake, queue_backlog, windy_cliff


def risky_shortcut(
    alpha: float, H: int = 5, p: float = 0.05, safe: float = 0.4, risky: float = 0.6
) -> Mixture:
    """A safe action, and one that pays more but falls with probability p to reward 0 for ever.

    States: 0 on the path, 1 fallen. Actions: 0 safe, 1 risky. d = 2 (never falls, always falls).
    The agent that has m steps left takes the risk iff alpha >= `switching_alpha` (p, m).
    """
    kernels = np.zeros((2, 2, 2, 2))
    kernels[:, 0, 0, 0] = 1.0
    kernels[0, 0, 1, 0] = 1.0
    kernels[1, 0, 1, 1] = 1.0
    kernels[:, 1, :, 1] = 1.0
    rewards = np.zeros((check_steps(H), 2, 2))
    rewards[:, 0] = safe, risky
    return mixture(kernels, np.array([1.0 - p, p]), rewards)


def switching_alpha(p: float, steps_left: int, safe: float = 0.4, risky: float = 0.6) -> float:
    """The least alpha at which risk pays with `steps_left` steps to go, see `risky_shortcut`.

    Taking the risk in each of m steps is worth R_m = risky + q R_{m-1} with q = (1 - p / alpha)^+,
    so R_m = risky (1 - q^m) / (1 - q), and risk pays at m iff risky - safe >= (1 - q) R_{m-1}, that
    is iff q^{m-1} >= safe / risky (our derivation). Above 1: never.

    Returns:
        p / (1 - (safe / risky)^{1 / (m - 1)}); 0 for the last step, where falling costs nothing.
    """
    if steps_left == 1:
        return 0.0
    return p / (1.0 - (safe / risky) ** (1.0 / (steps_left - 1)))


def lower_bound(
    alpha: float, H: int = 4, A: int = 3, gap: float = 0.5, rarity: float | None = None
) -> Mixture:
    """A chain whose end is rarely seen and yet is all that counts under CVaR.

    States: chain 0..n-1 with n = H - 1, then a lucky, a good and a bad absorbing state that pay 1,
    0.8 and 0.2 a step. A chain state leads on with probability `rarity` and else to the lucky
    state, whatever the action. At the chain's end (seen with probability rarity^(H - 2)) the last
    action leads to the bad state with probability rarity (1 - gap), the others with `rarity`, and
    else to the good state. With alpha <= rarity the value of the first state is that of the end of
    the chain: all regret is there. d = A: kernel i makes action i the better one.

    Args:
        alpha: Risk level of the run; `rarity` is equal to it when None.
        H: Steps, at least 2.
        A: Actions.
        gap: Share of the bad outcome that the better action avoids.
        rarity: See above.
    """
    rarity = alpha if rarity is None else rarity
    n = check_steps(H, least=2) - 1
    lucky, good, bad = n, n + 1, n + 2
    kernels = np.zeros((A, n + 3, A, n + 3))
    for s in range(n - 1):
        kernels[:, s, :, s + 1] = rarity
        kernels[:, s, :, lucky] = 1.0 - rarity
    kernels[:, n - 1, :, bad] = rarity
    for better in range(A):
        kernels[better, n - 1, better, bad] = rarity * (1.0 - gap)
    kernels[:, n - 1, :, good] = 1.0 - kernels[:, n - 1, :, bad]
    for s in (lucky, good, bad):
        kernels[:, s, :, s] = 1.0
    rewards = np.zeros((H, n + 3, A))
    for s, reward in ((lucky, 1.0), (good, 0.8), (bad, 0.2)):
        rewards[:, s] = reward
    return mixture(kernels, np.eye(A)[A - 1], rewards)


def random_mixture(
    alpha: float,
    S: int = 8,
    A: int = 3,
    H: int = 3,
    d: int = 3,
    instance: int = 0,
    concentration: float = 1.0,
) -> Mixture:
    """Base kernels with Dirichlet rows, weights uniform on the simplex, rewards uniform on [0, 1].

    `instance` seeds the world, whatever the seed of the run is; `concentration` is the parameter
    of the rows' Dirichlet law (small: nearly deterministic).
    """
    if not concentration > 0.0:
        raise ValueError(f"Bad value {concentration} for 'concentration': give a number above 0.")
    rng = np.random.default_rng([instance, S, A, H, d])
    kernels = rng.dirichlet(np.full(S, concentration), size=(d, S, A))
    theta = rng.dirichlet(np.ones(d), size=check_steps(H))
    return mixture(kernels, theta, rng.random((H, S, A)))


BUILDERS: dict[str, Callable[..., Mixture]] = dict(
    zip(
        TASK_NAMES,
        (risky_shortcut, lower_bound, random_mixture, windy_cliff, frozen_lake, queue_backlog),
        strict=True,
    )
)


def make_task(name: str, alpha: float, **fields: float) -> Mixture:
    """A task by its name.

    Args:
        name: One of `TASK_NAMES`.
        alpha: Risk level of the run, which `lower_bound` is built for.
        **fields: Arguments of the task's builder that differ from its defaults.

    Raises:
        ValueError: No such task or field, a field that makes no probability law, or `alpha`
            outside (0, 1].
    """
    check_alpha(alpha)
    if name not in BUILDERS:
        raise ValueError(f"No task '{name}': choose one of {', '.join(BUILDERS)}.")
    parameters = inspect.signature(BUILDERS[name]).parameters
    known = [key for key in parameters if key != "alpha"]
    for field, value in fields.items():
        if field not in known:
            raise ValueError(f"Task '{name}' has no field '{field}'; it has: {', '.join(known)}.")
        if parameters[field].annotation is int and (not isinstance(value, int) or value < 0):
            raise ValueError(
                f"Bad value {value!r} for field '{field}' of task '{name}': give a whole number of "
                "at least 0."
            )
    return BUILDERS[name](alpha, **fields)
